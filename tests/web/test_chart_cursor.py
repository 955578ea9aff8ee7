"""The cursor of charts in a browser, under the pages' policy: by pointer, by keyboard, and as text only."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from kaixu.web.charts import chart_svg
from kaixu.web.components import Chart, Series
from kaixu.web.site import POLICY
from kaixu.web.static_files import static_files

from .browser import DESKTOP, PHONE, REPORT_VIOLATIONS, new_context

ADDRESS = "http://127.0.0.1/"
HOSTILE = "<img src=x onerror=alert(1)>"

BARS = Chart(
    "spend", "Spend by model", [f"2026-11-{day:02}" for day in range(1, 31)],
    [Series(name=HOSTILE, values=[day / 4 for day in range(30)]), Series(name="talk", values=[2] * 29 + [None])], unit="usd",
)  # fmt: skip
LINES = Chart(
    "latency", "Latency", ["09:00", "10:00", "11:00"], [Series(name="p50", values=[300, None, 320])], form="lines", unit="ms"
)  # fmt: skip

Open = Callable[..., Page]


@pytest.fixture
def opened(browser: Browser) -> Iterator[Open]:
    """Open a page with a chart. The browser must have nothing to complain about."""
    contexts, complaints = [], []

    def make(chart: Chart, width: int = DESKTOP) -> Page:
        head = "".join(f'<link rel="stylesheet" href="/{name}">' for name in ("gateway.css", "chart.css"))
        body = f'<figure class="chart">{chart_svg(chart)}</figure><script type="module" src="/chart.js"></script>'
        html = f"<!doctype html><html lang='en'><title>Chart</title>{head}<body><main>{body}</main></body></html>"

        def answer(route: Route) -> None:
            name = route.request.url.removeprefix(ADDRESS)
            if name == "":
                policy = {"content-security-policy": POLICY.format(nonce="none")}
                route.fulfill(body=html, content_type="text/html; charset=utf-8", headers=policy)
            else:
                file = static_files()[name]
                route.fulfill(body=file.plain, content_type=file.content_type)

        context = new_context(browser, width=width, scheme="light", scripts=True)
        contexts.append(context)
        context.add_init_script(REPORT_VIOLATIONS)
        context.on("console", lambda message: complaints.append(message.text))
        context.on("weberror", lambda error: complaints.append(str(error.error)))
        context.route("**/*", answer)
        page = context.new_page()
        page.goto(ADDRESS)
        expect(page.get_by_role("group", name=f"{chart.title}: the arrow keys read its values")).to_be_visible()
        return page

    yield make
    for context in contexts:
        context.close()
    assert complaints == []


def test_arrow_keys_read_the_values_aloud(opened: Open) -> None:
    page = opened(BARS)
    page.keyboard.press("Tab")
    spoken, box = page.locator(".chart-live"), page.locator(".chart-tip")
    expect(box).to_be_hidden()
    for key, words in (
        ("ArrowLeft", f"2026-11-30, {HOSTILE} $7.25, total $7.25"),
        ("ArrowLeft", f"2026-11-29, {HOSTILE} $7.00, talk $2.00, total $9.00"),
        ("ArrowRight", f"2026-11-30, {HOSTILE} $7.25, total $7.25"),
        ("ArrowRight", f"2026-11-30, {HOSTILE} $7.25, total $7.25"),
        ("Home", f"2026-11-01, {HOSTILE} $0.00, talk $2.00, total $2.00"),
        ("PageDown", f"2026-11-04, {HOSTILE} $0.75, talk $2.00, total $2.75"),
        ("End", f"2026-11-30, {HOSTILE} $7.25, total $7.25"),
    ):
        page.keyboard.press(key)
        expect(spoken).to_have_text(words)
    expect(spoken).to_have_attribute("aria-live", "polite")
    expect(box).to_have_text(f"2026-11-30{HOSTILE}$7.25talk–Total$7.25")
    page.keyboard.press("Escape")
    expect(box).to_be_hidden()


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_pointer_shows_what_lies_below_it_and_the_box_stays_inside(opened: Open, width: int) -> None:
    page = opened(BARS, width)
    plot, box = page.locator(".chart-plot"), page.locator(".chart-tip")
    frame = plot.bounding_box()
    assert frame is not None
    for index in (0, 14, 29):
        plot.hover(position={"x": frame["width"] * (index + 0.5) / 30, "y": 100})
        expect(box.locator(".chart-tip-title")).to_have_text(f"2026-11-{index + 1:02}")
        place = box.bounding_box()
        assert place is not None
        assert 0 <= place["x"] <= place["x"] + place["width"] <= width
    expect(page.locator(".chart-live")).to_have_text("")
    page.mouse.move(frame["x"] + 5, frame["y"] + frame["height"] + 200)
    expect(box).to_be_hidden()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_cursor_of_lines_marks_the_values_that_there_are(opened: Open) -> None:
    page = opened(LINES)
    page.keyboard.press("Tab")
    for key, words, marks in (("Home", "09:00, p50 300 ms", 1), ("ArrowRight", "10:00, no data", 0)):
        page.keyboard.press(key)
        expect(page.locator(".chart-live")).to_have_text(words)
        expect(page.locator(".chart-plot g[aria-hidden] circle")).to_have_count(marks)


def test_chart_that_is_put_into_the_page_later_has_its_cursor(opened: Open) -> None:
    page = opened(BARS)
    page.evaluate("document.querySelector('main').append(document.querySelector('figure').cloneNode(true))")
    expect(page.get_by_role("group")).to_have_count(2)


def test_chart_keeps_its_summary_for_screen_readers(opened: Open) -> None:
    page = opened(LINES)
    words = "Latency: 09:00 to 11:00 (UTC); highest 320 ms (11:00, p50); lowest 300 ms (09:00, p50)."
    expect(page.get_by_role("img", name=words)).to_be_visible()
    expect(page.locator(".chart-plot > title")).to_have_count(0)
