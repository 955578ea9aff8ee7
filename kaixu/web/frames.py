"""The frame of a page for its visitor: which tabs there are, who is logged in, which customer is selected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from kaixu.accounts.own_integrations import shown_to_customers
from kaixu.edge.operator_cookies import read_cookie

from .components import Notice, Page
from .frame import CustomerChip, Frame, StatusChip, TabGroup, Theme, Who
from .frame import Tab as FrameTab
from .navigation import ADMIN, ADMIN_TABS, DASHBOARD, DASHBOARD_TABS, OWN_SETTINGS, PUBLIC_TABS, TABS, Tab
from .page_sessions import form_token
from .panels.found import own_tabs
from .visits import Visit

THEME_COOKIE = "kaixu-theme"
THEME = "/gateway/theme"
SEARCH = "/gateway/search"
ACCOUNT = "/gateway/account"
LOGOUT = "/gateway/logout"
DASHBOARD_LOGOUT = "/gateway/dashboard/logout"
FOOTER = (
    FrameTab(title="Start", href="/"),
    FrameTab(title="Docs", href="/docs"),
    FrameTab(title="Status", href="/gateway/status"),
    FrameTab(title="Operators: log in", href="/gateway/login"),
)
THEMES: dict[str, Theme] = {"light": "light", "dark": "dark"}
KINDS: dict[str, Literal["admin", "customer", "public"]] = {"operator": "admin", "customer": "customer"}


def frame_of(visit: Visit, page: Page, nonce: str, flashes: Sequence[Notice] = ()) -> Frame:
    """What stands around a page."""
    is_operator, is_customer = visit.audience == "operator", visit.audience == "customer"
    return Frame(
        kind=KINDS.get(visit.audience, "public"),
        title=page.title,
        home_href=ADMIN if is_operator else DASHBOARD if is_customer else "/",
        navigation=navigation_of(visit),
        customer=chip_of(visit),
        operator=who(visit),
        status=status_of(visit),
        nonce=nonce,
        form_token=form_token(visit.services, visit.session) if visit.session else "",
        flashes=flashes,
        path=f"{visit.path}?{visit.request.query}" if visit.request.query else visit.path,
        search_href=SEARCH if is_operator else "",
        search_json=f"{SEARCH}.json" if is_operator else "",
        theme=THEMES.get(read_cookie(visit.request.headers, THEME_COOKIE) or "", "system"),
        theme_action=THEME,
        logout_text="Log out" if is_operator else "Sign out",
        logout_action=LOGOUT if is_operator else DASHBOARD_LOGOUT if is_customer else "",
        footer=() if is_operator else FOOTER,
    )


def who(visit: Visit) -> Who | None:
    """Who is logged in."""
    operator = visit.operator
    if operator is not None:
        return Who(name=operator.name or operator.email or "admin password", role=operator.role, href=ACCOUNT)
    if visit.key is not None:
        return Who(name=f"key …{visit.key['key_last4']}", role=str(visit.key.get("label") or ""))
    return None


def chip_of(visit: Visit) -> CustomerChip | None:
    """The selected customer, which stays until it is cleared."""
    if visit.customer is None:
        return None
    href = visit.url(TABS["usage"].path, customer_id=visit.customer_id)
    return CustomerChip(text=visit.customer["email"], href=href, clear_href=visit.changed(customer_id=None))


def status_of(visit: Visit) -> StatusChip | None:
    """How the lanes are, for operators."""
    if visit.audience != "operator":
        return None
    off = [name for name, lane in visit.services.catalog.lanes.items() if lane.state != "on"]
    if not off:
        return StatusChip(state="good", text="all lanes on", href=TABS["lanes"].path)
    text = f"{len(off)} lane off" if len(off) == 1 else f"{len(off)} lanes off"
    return StatusChip(state="warn", text=text, href=TABS["lanes"].path)


def navigation_of(visit: Visit) -> list[TabGroup]:
    """The tabs that this visitor has, in groups."""
    tabs: list[Tab] = [*{"operator": ADMIN_TABS, "customer": DASHBOARD_TABS, "public": PUBLIC_TABS}[visit.audience]]
    if visit.audience != "public":
        tabs += own_tabs(visit.services.catalog, "admin" if visit.audience == "operator" else "dashboard")
    if visit.audience == "customer" and shown_to_customers(visit.services.catalog.declared):
        tabs.append(OWN_SETTINGS)
    groups: dict[str, list[FrameTab]] = {}
    for tab in tabs:
        if visit.operator is None or visit.operator.may(tab.access):
            groups.setdefault(tab.group, []).append(shown_tab(visit, tab))
    return [TabGroup(title, shown) for title, shown in groups.items()]


def shown_tab(visit: Visit, tab: Tab) -> FrameTab:
    """A tab as a link; it carries the selected customer."""
    customer_id = visit.customer_id if tab.keeps_customer or tab.name in CARRIES else None
    is_current = visit.tab is not None and visit.tab.name == tab.name
    return FrameTab(
        title=tab.title, href=visit.url(tab.path, customer_id=customer_id), icon=tab.icon, is_current=is_current
    )


#: Tabs that work without a customer, and do not lose the selected one.
CARRIES = ("overview", "customers", "monitor", "timeline")
