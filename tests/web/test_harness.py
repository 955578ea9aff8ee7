"""The checks of this folder find what they are for; and the browser leaves tests of coroutines alone."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator

import asyncpg
import pytest
from playwright.sync_api import Browser

from kaixu.reports.reconcile import reconcile
from tests.support.money import assert_books_balance

from .accessibility import assert_accessible
from .blocking import run
from .browser import PHONE, Visitor, new_context
from .conftest import Visit
from .gateway import Gateway
from .layout import assert_focus_visible, assert_layout
from .snapshots import normal

GOOD = """<!doctype html><html lang="en"><head><title>Good</title>
<style>body { margin: 8px; background: white } a, button { display: inline-block; min-height: 24px; min-width: 24px }
.wide { overflow-x: auto } .wide div { width: 3000px }</style></head>
<body><main><h1>Good</h1><div class="wide" tabindex="0"><div>wide</div></div>
<p>A <a href="/x" style="display: inline; min-height: 0">link</a> in a text.</p>
<button>One</button> <button>Two</button></main></body></html>"""

Show = Callable[..., Visitor]


@pytest.fixture
def show(browser: Browser) -> Iterator[Show]:
    """Show HTML as a page of a made-up gateway; `policy` is its content security policy."""
    contexts = []

    def show(html: str, *, policy: str = "", width: int = 1280) -> Visitor:
        contexts.append(new_context(browser, width=width, scheme="light", scripts=True))
        visitor = Visitor(contexts[-1], "http://127.0.0.1:9")
        headers = {"content-type": "text/html"} | ({"content-security-policy": policy} if policy else {})
        visitor.page.route("http://127.0.0.1:9/", lambda route: route.fulfill(body=html, headers=headers))
        visitor.page.goto(visitor.url + "/")
        return visitor

    yield show
    for context in contexts:
        context.close()


def test_a_good_page_passes_all_checks(show: Show) -> None:
    visitor = show(GOOD)
    assert_layout(visitor.page)
    assert assert_accessible(visitor.page) == []
    assert_focus_visible(visitor)
    visitor.assert_clean()


@pytest.mark.parametrize(
    ("html", "policy", "told"),
    [
        ("<script>console.error('broken')</script>", "", "console: broken"),
        ("<script>missing()</script>", "", "missing is not defined"),
        ("<script>Promise.reject(new Error('unseen'))</script>", "", "unseen"),
        ("<p style='color: red'>x</p>", "default-src 'none'", "content security policy: style-src-attr blocked inline"),
        ("<script>1</script>", "script-src 'self'", "content security policy: script-src-elem blocked inline"),
        ("<img src='http://elsewhere.example/x.png'>", "", "request to elsewhere: http://elsewhere.example/x.png"),
        ("<img src='/x.png'>", "", "request failed: GET http://127.0.0.1:9/x.png"),
    ],
    ids=["console", "script", "promise", "style", "inline-script", "elsewhere", "failed-request"],
)
def test_what_the_browser_sees_go_wrong_fails_the_test(show: Show, html: str, policy: str, told: str) -> None:
    visitor = show(html, policy=policy)
    visitor.page.wait_for_load_state("load")
    with pytest.raises(AssertionError) as failure:
        visitor.assert_clean()
    assert told in str(failure.value)


def test_an_error_status_fails_the_test_unless_it_is_expected(gateway: Gateway, visit: Visit) -> None:
    visitor = visit(gateway)
    visitor.go("/api/admin-invitation?token=x", status=404)
    assert visitor.complaints == []
    visitor.page.goto(gateway.url + "/api/admin-invitation?token=x")
    visitor.flush()
    assert visitor.complaints == [f"404 for GET {gateway.url}/api/admin-invitation?token=x"]
    visitor.complaints.clear()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("<p>A", "<p id=long>" + "x" * 400 + "A"), "the page is"),
        (("<button>Two", "<button style='position: absolute; right: -20px; width: 60px'>Two"), "Two"),
        (("<button>Two", "<button style='min-height: 0; height: 20px'>Two"), "is a target of"),
        (("<button>Two", "<button style='margin-left: -30px'>Two"), "overlap by"),
        (("<button>Two", "<a href='/y' style='min-height: 0'>alone</a><button>Two"), "is a target of"),
    ],
    ids=["wide-text", "reaches-out", "small-button", "overlap", "small-link"],
)
def test_bad_layout_is_found(show: Show, change: tuple[str, str], told: str) -> None:
    visitor = show(GOOD.replace(*change), width=PHONE)
    with pytest.raises(AssertionError) as failure:
        assert_layout(visitor.page)
    assert told in str(failure.value)


@pytest.mark.parametrize(
    ("style", "told"),
    [("button:focus { outline: none }", "does not see"), (".cover { position: fixed; inset: 0 }", "covered")],
    ids=["invisible", "covered"],
)
def test_a_focus_that_is_not_seen_is_found(show: Show, style: str, told: str) -> None:
    visitor = show(GOOD.replace("</style>", f"{style}</style>").replace("</main>", "<div class=cover></div></main>"))
    with pytest.raises(AssertionError) as failure:
        assert_focus_visible(visitor)
    assert told in str(failure.value)


def test_an_inaccessible_page_is_found(show: Show) -> None:
    visitor = show(GOOD.replace("<button>Two", "<input>").replace("white", "#777"))
    with pytest.raises(AssertionError) as failure:
        assert_accessible(visitor.page)
    assert "critical: label" in str(failure.value)
    assert "serious: color-contrast" in str(failure.value)


def test_the_keyboard_finds_elements_by_their_names(show: Show) -> None:
    visitor = show(GOOD)
    assert visitor.focused() == ("", "")
    visitor.tab_to("Two")
    assert visitor.focused() == ("button", "Two")
    assert visitor.press("Shift+Tab").focused_name() == "One"
    with pytest.raises(AssertionError, match="Tab never reaches 'Three'"):
        visitor.tab_to("Three", most=5)


def test_snapshots_have_no_data() -> None:
    told = """\
- heading "Calls of ops@northwind.example, November 2026" [level=1]
- text: 1,204 calls, $12.50 on 2026-11-29 09:12, key …x9Zk
- table:
  - rowgroup:
    - row "Time Model Cost":
      - columnheader "Time"
      - columnheader "Cost"
  - rowgroup:
    - row "09:12 gpt-4o $0.01":
      - cell "09:12"
      - cell "gpt-4o":
        - link "gpt-4o":
          - /url: /gateway/usage?model=gpt-4o
    - 'row "09:13 gpt-4o: $0.02"':
      - cell "09:13"
- button "More"
- link "Customer 17":
  - /url: /gateway/customers/17?page=2
"""
    assert (
        normal(told)
        == """\
- heading "Calls of <email>, <date>" [level=1]
- text: # calls, # on <date>, key …<last4>
- table:
  - rowgroup:
    - row "Time Model Cost":
      - columnheader "Time"
      - columnheader "Cost"
  - rowgroup:
    - row
- button "More"
- link "Customer #":
  - /url: /gateway/customers/#?page=#
"""
    )


async def test_coroutines_run_beside_the_browser(chromium: object) -> None:
    await asyncio.sleep(0)
    assert await asyncio.to_thread(str, 1) == "1"


def test_the_browser_is_still_there_afterwards(show: Show) -> None:
    asyncio_is_refused = "cannot be called from a running event loop"
    visitor = show(GOOD)
    assert visitor.page.title() == "Good"
    nothing = asyncio.sleep(0)
    with pytest.raises(RuntimeError, match=asyncio_is_refused):
        asyncio.run(nothing)
    nothing.close()


def test_a_swap_is_waited_for(operator: Visitor) -> None:
    operator.go("/gateway/customers")
    emails = operator.main.get_by_text(re.compile(r"@[a-z-]+\.example$"))
    everybody = emails.count()
    with operator.swapped():
        operator.page.get_by_label("Plan").select_option("pro")
    assert 0 < emails.count() < everybody
    assert "plan=pro" in operator.path


def test_the_books_of_the_seed_balance(gateway: Gateway) -> None:
    async def check() -> None:
        connection = await asyncpg.connect(gateway.dsn)
        try:
            await assert_books_balance(connection)
            assert (await reconcile(connection)).differences == []
        finally:
            await connection.close()

    run(check())
