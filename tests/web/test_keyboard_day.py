"""A whole day of an operator by keyboard: no mouse, and one always sees where the focus is."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.support.process import SECRETS

from .accessibility import assert_accessible
from .browser import Visitor
from .conftest import Visit
from .gateway import Gateway
from .layout import FOCUS, assert_focus_visible

CHAT = {"provider": "openai", "model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}


def assert_focus_seen(visitor: Visitor) -> None:
    """One sees what has the focus, and nothing covers it."""
    focus = visitor.page.evaluate(FOCUS)
    assert focus, f"{visitor.path}: nothing has the focus"
    assert focus["isSeen"], f"{visitor.path}: one does not see that this has the focus: {focus['html']}"
    assert focus["isOnTop"], f"{visitor.path}: this has the focus, and is covered or out of view: {focus['html']}"


def skip_to_content(visitor: Visitor) -> None:
    """The first stop of each page leads past its navigation."""
    visitor.press("Tab")
    assert visitor.focused_name() == "Skip to the content"
    assert_focus_seen(visitor)
    visitor.press("Enter")
    expect(visitor.main).to_be_focused()


def tab_to(visitor: Visitor, name: str, *, back: bool = False) -> None:
    """Go on to a control, which shows then that it has the focus."""
    visitor.tab_to(name, back=back)
    assert_focus_seen(visitor)


def find(visitor: Visitor, text: str, result: str) -> None:
    """Find something by the palette, and go there."""
    visitor.press("Control+k")
    page = visitor.page
    expect(page.get_by_role("combobox", name="Find")).to_be_focused()
    page.keyboard.type(text)
    options = page.locator("#palette [role=option]")
    wanted = page.get_by_role("option", name=result).first
    expect(wanted).to_be_visible()
    expect(options.first).to_have_attribute("aria-selected", "true")
    for _ in range(options.count()):
        if wanted.get_attribute("aria-selected") == "true":
            break
        visitor.press("ArrowDown")
    href: str = wanted.evaluate("element => element.href")
    visitor.press("Enter")
    page.wait_for_url(href)
    visitor.settle()


def open_settings(visitor: Visitor) -> None:
    """Open the menu at the head of the page."""
    account = visitor.page.locator("button.account")
    for _ in range(60):
        visitor.press("Tab")
        if account.evaluate("element => element === document.activeElement"):
            break
    else:
        raise AssertionError("Tab never reaches the menu")
    assert_focus_seen(visitor)
    visitor.press("Enter")
    expect(visitor.page.locator("#account")).to_be_visible()


def test_a_day_by_keyboard(visit: Visit, own_gateway: Gateway) -> None:
    operator = visit(own_gateway)
    page, main = operator.page, operator.main
    operator.go("/gateway/login")
    skip_to_content(operator)
    tab_to(operator, "Password (required)")
    page.keyboard.type(SECRETS["ADMIN_PASSWORD"])
    operator.press("Enter")
    expect(page.locator("h1")).to_have_text("Overview")

    # Customers: search, rows, and the keys of one.
    find(operator, "customers", "Customers")
    operator.press("/")
    assert operator.focused()[0] == "searchbox"
    assert_focus_seen(operator)
    page.keyboard.type("northwind")
    with operator.swapped():
        operator.press("Enter")
    expect(page.locator("#customers tbody tr")).to_have_count(1)
    tab_to(operator, "Filter")
    operator.press("j")
    assert_focus_seen(operator)
    operator.press("Enter")
    expect(page.locator("h1")).to_have_text("Keys")

    # The keys: rows by j and k, the drawer, a filter.
    skip_to_content(operator)
    operator.press("j", "j", "k")
    first = page.locator("#keys tbody tr").first
    expect(first).to_have_class(re.compile(r"\bat\b"))
    expect(first.locator(".row-link")).to_be_focused()
    assert_focus_seen(operator)
    operator.press("Enter")
    drawer = page.locator("#drawer")
    expect(drawer.locator("#drawer-title")).to_be_focused()
    assert_accessible(page)
    operator.press("Tab")
    assert_focus_seen(operator)
    operator.press("Escape")
    expect(drawer).to_be_hidden()
    expect(first.locator(".row-link")).to_be_focused()
    tab_to(operator, "Filter", back=True)
    operator.press("Shift+Tab", "Shift+Tab")
    page.keyboard.type("not")
    operator.press("Tab", "Tab")
    with operator.swapped():
        operator.press("Enter")
    assert "revoked=false" in operator.path
    expect(page.locator("#keys tbody tr").filter(has_text="lost laptop")).to_have_count(0)

    # A customer is created; its key is revoked, and the revocation undone.
    find(operator, "create", "Create")
    skip_to_content(operator)
    tab_to(operator, "E-mail (required)")
    page.keyboard.type("keys@only.example")
    tab_to(operator, "Monthly cap")
    page.keyboard.type("10")
    operator.press("Enter")
    shown = page.get_by_role("region", name="Key", exact=True)
    key = shown.inner_text()
    skip_to_content(operator)
    tab_to(operator, "I have stored it")
    operator.press("Space")
    assert own_gateway.request("POST", "gateway-chat", CHAT, token=key).status_code == 200
    tab_to(operator, "Keys of this customer")
    operator.press("Enter")
    expect(page.locator("h1")).to_have_text("Keys")
    skip_to_content(operator)
    tab_to(operator, "Revoke")
    operator.press("Enter")
    expect(main.get_by_role("status").filter(has_text="is revoked")).to_be_visible()
    skip_to_content(operator)
    tab_to(operator, "Undo")
    operator.press("Enter")
    expect(main.get_by_role("status").filter(has_text="works again")).to_be_visible()
    assert own_gateway.request("POST", "gateway-chat", CHAT, token=key).status_code == 200
    assert_focus_visible(operator, most=30)

    # Help, the theme, and the way out.
    operator.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    assert_focus_seen(operator)
    operator.press("Escape")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_hidden()
    operator.go("/gateway/monitor")
    open_settings(operator)
    tab_to(operator, "Dark")
    operator.press("Enter")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    tab_to(operator, "Log out")
    operator.press("Enter")
    expect(page.locator("h1")).to_have_text("Log in")
    operator.go("/gateway/customers")
    expect(page.locator("h1")).to_have_text("Log in")
