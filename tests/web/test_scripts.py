"""The pages' scripts in a browser, and the look of all parts: under the policy, by keyboard, on a phone, in the dark."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, expect

from .accessibility import assert_accessible
from .browser import DESKTOP, PHONE, Scheme, Visitor, new_context
from .conftest import visitors_of
from .gallery_server import gallery_server
from .layout import assert_layout

Open = Callable[..., Visitor]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A server of the gallery."""
    with gallery_server() as address:
        yield address


@pytest.fixture
def opened(address: str, browser: Browser, request: pytest.FixtureRequest) -> Iterator[Open]:
    """Open a page of the gallery."""
    contexts = []

    def make(path: str, width: int = DESKTOP, scheme: Scheme = "light", scripts: bool = True) -> Visitor:
        contexts.append(new_context(browser, width=width, scheme=scheme, scripts=scripts))
        visitor = Visitor(contexts[-1], address, scripts=scripts)
        visitor.expected = {503}
        visitors_of(request.node).append(visitor)
        return visitor.go(path)

    yield make
    for context in contexts:
        context.close()


@pytest.mark.parametrize(("width", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")])
def test_all_parts_fit_and_can_be_read_by_everybody(opened: Open, width: int, scheme: Scheme) -> None:
    visitor = opened("/everything", width, scheme)
    assert_layout(visitor.page)
    assert_accessible(visitor.page)


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_all_parts_fit_without_scripts(opened: Open, width: int) -> None:
    visitor = opened("/everything", width, scripts=False)
    expect(visitor.page.get_by_text("2026-11-28 09:41 UTC").first).to_be_visible()
    expect(visitor.page.get_by_role("button", name="Copy")).to_have_count(0)
    if width == PHONE:
        visitor.page.get_by_role("button", name="Menu").click()
    expect(visitor.page.get_by_role("navigation", name="Main").get_by_role("link", name="Keys")).to_be_visible()


def test_a_filter_replaces_its_table_and_the_address_says_so(opened: Open) -> None:
    visitor = opened("/everything")
    with visitor.swapped():
        visitor.page.get_by_role("searchbox", name="Search").press_sequentially("acme")
    assert visitor.path == "/gateway/customers?q=acme&state=&from=now-24h"
    with visitor.swapped():
        visitor.page.get_by_label("State").select_option("off")
    assert visitor.path == "/gateway/customers?q=acme&state=off&from=now-24h"
    with visitor.swapped():
        visitor.page.get_by_role("link", name="Next page").click()
    assert visitor.path == "/gateway/customers?after=x"
    assert visitor.focused() == ("link", "Next page")
    visitor.page.go_back()
    expect(visitor.page).to_have_url(visitor.url + "/gateway/customers?q=acme&state=off&from=now-24h")


def test_rows_open_beside_the_page_by_keys_alone(opened: Open) -> None:
    visitor = opened("/everything")
    visitor.press("j", "j")
    assert visitor.focused_name() == "northwind starter"
    visitor.press("Enter")
    drawer = visitor.page.get_by_role("dialog", name="Everything")
    expect(drawer).to_be_visible()
    assert_accessible(visitor.page)
    assert visitor.path == "/everything"
    visitor.press("j")
    expect(drawer.get_by_role("link", name="Open as a page")).to_have_attribute(
        "href", "/gateway/customers/studio-berlin"
    )
    visitor.press("Escape")
    expect(drawer).to_be_hidden()
    assert visitor.focused_name() == "northwind starter"


def test_a_link_with_a_modifier_opens_no_drawer(opened: Open) -> None:
    visitor = opened("/everything")
    with visitor.context.expect_page() as other:
        visitor.page.get_by_role("link", name="acme-labs starter").click(modifiers=["Control"])
    other.value.close()
    expect(visitor.page.locator("#drawer")).to_be_hidden()


def test_the_palette_finds_records_and_tabs_and_only_shows_text(opened: Open) -> None:
    visitor = opened("/everything")
    visitor.press("Control+k")
    field = visitor.page.get_by_role("combobox", name="Find a customer")
    expect(field).to_be_focused()
    expect(visitor.page.get_by_role("option", name="Playground")).to_be_visible()
    field.press_sequentially("acme")
    expect(visitor.page.locator("#palette").get_by_role("option")).to_have_count(1)
    expect(visitor.page.get_by_role("option", name="<b>acme-labs</b> starter")).to_be_visible()
    assert_accessible(visitor.page)
    visitor.press("Enter")
    expect(visitor.page).to_have_url(visitor.url + "/gateway/customers/1")
    visitor.press("Control+k")
    field.press_sequentially("zzz")
    expect(visitor.page.get_by_text("Nothing found for “zzz”.")).to_be_visible()
    visitor.press("Escape")
    expect(field).to_be_hidden()


def test_keys_are_listed_and_slash_searches(opened: Open) -> None:
    visitor = opened("/everything")
    visitor.press("?")
    expect(visitor.page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    visitor.press("Escape", "/")
    assert visitor.focused() == ("searchbox", "Search")
    visitor.press("j")
    expect(visitor.page.get_by_role("searchbox", name="Search")).to_have_value("j")


def test_the_theme_is_chosen_and_kept(opened: Open) -> None:
    visitor = opened("/overview")
    visitor.page.get_by_role("button", name="ada@example.com").click()
    visitor.page.get_by_role("button", name="Dark").click()
    expect(visitor.page.locator("html")).to_have_attribute("data-theme", "dark")
    expect(visitor.page.get_by_role("button", name="Dark")).to_have_attribute("aria-pressed", "true")
    assert [(one["name"], one["value"]) for one in visitor.context.cookies()] == [("kaixu-theme", "dark")]


def test_times_are_in_the_viewers_zone_with_utc_beside(opened: Open) -> None:
    time = opened("/everything").page.locator('time[data-form="moment"]').first
    expect(time).to_have_text("2026-11-28 10:41")
    expect(time).to_have_attribute("title", "2026-11-28 09:41:07 UTC")


def test_undo_goes_away_in_its_time(opened: Open) -> None:
    visitor = opened("/login")
    visitor.page.clock.install()
    visitor.go("/everything")
    undo = visitor.page.get_by_role("button", name="Undo")
    expect(undo).to_be_visible()
    visitor.page.clock.run_for(11_000)
    expect(undo).to_have_count(0)


def test_progress_that_cannot_be_read_stays_as_it_is_and_says_so(opened: Open) -> None:
    visitor = opened("/login")
    visitor.page.clock.install()
    visitor.go("/everything")
    with visitor.swapped():
        visitor.page.clock.run_for(2_100)
    expect(visitor.page.get_by_text("The progress cannot be read now.")).to_be_visible()
    expect(visitor.page.get_by_role("progressbar", name="Importing documents")).to_be_visible()


def test_an_injected_element_of_htmx_does_nothing(opened: Open) -> None:
    visitor = opened("/everything")
    reported = visitor.page.evaluate("""() => {
        const link = document.createElement("a");
        link.setAttribute("hx-get", "/gateway/stolen");
        document.getElementById("content").append(link);
        window.htmx.process(link);
        link.click();
        return link.hasAttribute("hx-get");
    }""")
    assert not reported
    visitor.flush()
    assert [one for one in visitor.complaints if "hx-csp" not in one] == []
    visitor.complaints.clear()
