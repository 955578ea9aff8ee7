"""The tab of customers: the list, with search, filters, sorting and pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kaixu.accounts.operator_identity import CUSTOMERS
from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.web.api_calls import QueryValue
from kaixu.web.caps import cap_meter
from kaixu.web.components import (
    Badge,
    Button,
    Card,
    Cell,
    Column,
    Empty,
    Field,
    Form,
    Link,
    Money,
    Notice,
    Number,
    Option,
    Page,
    Part,
    Prose,
    Row,
    Sparkline,
    Stack,
    Table,
    Time,
)
from kaixu.web.lists import pages_of, sort_links
from kaixu.web.navigation import TABS
from kaixu.web.panels.cards import core_tab_cards
from kaixu.web.site import Site, selected_customer
from kaixu.web.twins import curl_of, twins_of
from kaixu.web.visits import Visit

from .customer_actions import DETAILS, switch_button
from .limit_words import cents_text

TAB = TABS["customers"]
LIMIT = 50
DAYS = 14
FILTERS = ("q", "plan", "active", "sort", "order", "cursor")
STATES = (Option("", "all"), Option("true", "active"), Option("false", "switched off"))


def customer_pages(site: Site) -> list[Route]:
    """The routes of the tab."""
    return site.operator_page(TAB.path, customers, tab=TAB, twin=list_of)


def list_of(visit: Visit) -> tuple[str, Mapping[str, QueryValue]]:
    """The endpoint of the list, with the filters of the page."""
    filters = {name: visit.query.get(name) for name in FILTERS}
    return "admin-customers", {"limit": LIMIT, "sparkline": DAYS, **filters}


async def customers(visit: Visit) -> Page | Reply:
    """The list."""
    name, query = list_of(visit)
    reply = await visit.api.get(name, **query)
    plans = await visit.api.get("admin-plans")
    parts: list[Part] = [
        *await change_notices(visit),
        filters(visit, sorted({plan["name"] for plan in plans["plans"]})),
        table(visit, reply),
        *await core_tab_cards(visit, "customers", needs_customer=False),
        Card("What is here", [ABOUT], open=False),
    ]
    actions = [Link("Create a customer", TABS["create"].path, icon="plus")] if visit.may(CUSTOMERS) else []
    return Page(
        title=TAB.title,
        subtitle="A click on a row selects the customer for the tabs of keys, usage, billing, devices and exports; "
        "a click on its address opens its details.",
        parts=parts,
        actions=actions,
        twins=twins_of(visit),
        curl=curl_of(visit, name, query),
    )


ABOUT = Prose(
    tip=True,
    paragraphs=[
        "A customer has one cap for the month and any number of keys, which share it. A click on a row selects the "
        "customer: its address stays in the head of the page, and the tabs about a customer use it."
    ],
    items=[
        "Spent is billed, held is reserved for calls in flight; available is the cap with this month's top-ups, "
        "without both. The small line shows the last 14 days.",
        "Switching a customer off refuses its next call, whatever its keys say; running calls are finished and billed.",
        "A Netlify token is stored encrypted; set and clear it below the list, for the customer that is chosen. "
        "KaixuPush publishes with it; without one it uses the gateway's own token, for sites that you have put on the "
        "customer's list.",
        "Many customers at once come from a CSV file: kaixu customers import customers.csv --dry-run shows what each "
        "line would do, and without --dry-run does it; --issue-keys FILE makes a first key for each. kaixu customers "
        "export writes the same file.",
    ],
)


def filters(visit: Visit, plans: list[str]) -> Form:
    """Search, plan and state."""
    chosen = visit.query.get("plan", "")
    named = plans if chosen in ("", *plans) else [*plans, chosen]
    return Form(
        action=TAB.path,
        method="get",
        inline=True,
        target="customers",
        submit="Filter",
        hidden=carried(visit),
        fields=[
            Field(name="q", label="Search", type="search", value=visit.query.get("q", ""), maxlength=200,
                  placeholder="E-mail or id"),
            Field(name="plan", label="Plan", type="select", value=chosen,
                  options=[Option("", "all"), *(Option(one, one) for one in named)]),
            Field(name="active", label="State", type="select", value=visit.query.get("active", ""), options=STATES),
        ],
    )  # fmt: skip


def carried(visit: Visit) -> dict[str, str]:
    """What a filter keeps of the address: the order, and the selected customer."""
    return {name: visit.query[name] for name in ("sort", "order", "customer_id") if visit.query.get(name)}


async def change_notices(visit: Visit) -> list[Notice]:
    """What was just done, with a way back."""
    word = visit.query.get("done", "")
    if word == "deleted":
        text = "The customer is deleted. What is theirs is being removed; issued invoices stay."
        return [Notice(state="good", text=text)]
    if word not in ("on", "off"):
        return []
    customer = await selected_customer(visit.api, visit.query.get("done_id", ""))
    if customer is None or customer["is_active"] != (word == "on"):
        return []
    undo: list[Button | Link] = [switch_button(visit, customer, back=TAB.path, label="Undo")]
    actions = undo if visit.may(CUSTOMERS) else []
    if word == "on":
        text = f"{customer['email']} is switched on: its keys work again."
        return [Notice(state="good", text=text, actions=actions, ends_after_s=10)]
    text = f"{customer['email']} is switched off: its next call is refused."
    return [Notice(state="warn", text=text, actions=actions, ends_after_s=10)]


def table(visit: Visit, reply: Mapping[str, Any]) -> Table:
    """The list itself."""
    sorts = sort_links(visit, {"id": "desc", "email": "asc", "spent": "desc"}, default="id")
    next_href, first_href = pages_of(visit, reply["next_cursor"])
    is_filtered = any(visit.query.get(one) for one in ("q", "plan", "active"))
    return Table(
        id="customers",
        caption="Customers",
        columns=[
            Column(title="ID", align="right", **sorts["id"]),
            Column(title="E-mail", wide=True, **sorts["email"]),
            Column(title="Plan"),
            Column(title="Monthly cap", align="right"),
            Column(title="Spent", align="right", hint="This month; the line: the last 14 days", **sorts["spent"]),
            Column(title="Available", hint="Cap and top-ups, without what is spent and held"),
            Column(title="Active"),
            Column(title="Active keys", align="right"),
            Column(title="Netlify token", phone=False),
            Column(title="Created", phone=False),
        ],
        rows=[customer_row(visit, one) for one in reply["customers"]],
        next_href=next_href,
        first_href=first_href,
        empty=Empty(text="No customer fits these filters.", link=Link("Show all", TAB.path))
        if is_filtered
        else Empty(text="There are no customers yet.", link=Link("Create the first one", TABS["create"].path)),
    )


def customer_row(visit: Visit, one: Mapping[str, Any]) -> Row:
    """A customer's row. A click selects the customer for the other tabs."""
    cap = one["monthly_cap_cents"] + one["extra_cents"]
    used = one["spent_cents"] + one["held_cents"]
    days = [float(amount) for amount in one["daily_spent_usd"]]
    label = f"The last {len(days)} days: ${sum(days):.2f} in all, ${max(days):.2f} on the dearest"
    return Row(
        id=f"customer-{one['id']}",
        href=visit.url(TABS["keys"].path, customer_id=one["id"]),
        drawer=False,
        cells=[
            Number(one["id"]),
            Link(one["email"], visit.url(DETAILS, customer_id=one["id"]), drawer=True),
            one["plan_name"],
            Money(cents_text(one["monthly_cap_cents"])),
            Stack([Money(one["spent_usd"]), Sparkline(days, label)], lines=True),
            Stack([Money(one["available_usd"]), cap_meter(used, cap)], lines=True),
            Badge("good", "active") if one["is_active"] else Badge("off", "switched off"),
            Number(one["active_keys"]),
            token_cell(one),
            Time(one["created_at"], form="date"),
        ],
        state=None if one["is_active"] else "off",
        selected=one["id"] == visit.customer_id,
    )


def token_cell(one: Mapping[str, Any]) -> Cell:
    """Whether a Netlify token is stored for the customer."""
    return Badge("good", "set") if one["has_netlify_token"] else Badge("off", "not set")
