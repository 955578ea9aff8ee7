"""Choosing a customer on a tab that needs one: a search, and the customers that it finds."""

from __future__ import annotations

from kaixu.web.components import Card, Column, Empty, Field, Form, Link, Money, Notice, Prose, Row, Table
from kaixu.web.navigation import TABS
from kaixu.web.visits import Visit

#: How many customers are offered; the search finds the others.
OFFERED = 12


TIP = Prose(
    tip=True,
    paragraphs=[
        "The choice stays in the head of the page, and every tab about a customer uses it until you clear it. A click "
        "on a row of the tab Customers chooses one, too."
    ],
)


async def choose_customer(visit: Visit, why: str, *, also_off: bool = False) -> Card:
    """The card: `why` says what the customer is needed for. `also_off`: it may be one that is switched off."""
    text = visit.query.get("q", "")[:200]
    active = None if also_off else True
    found = await visit.api.get("admin-customers", q=text, active=active, sort="spent", limit=OFFERED)
    form = Form(
        action=visit.path,
        method="get",
        inline=True,
        target="choose-customer",
        submit="Find",
        fields=[
            Field(name="q", label="Customer", type="search", value=text, maxlength=200, placeholder="E-mail or id")
        ],
    )
    table = Table(
        id="choose-customer",
        caption="Customers",
        columns=[
            Column(title="E-mail", wide=True),
            Column(title="ID", align="right"),
            Column(title="Plan"),
            Column(title="Available", align="right"),
            Column(title="Active keys", align="right"),
        ],
        rows=[
            Row(
                cells=[one["email"], one["id"], one["plan_name"], Money(one["available_usd"]), one["active_keys"]],
                href=visit.url(customer_id=one["id"]),
                drawer=False,
            )
            for one in found["customers"]
        ],
        empty=Empty(
            text="No customer fits." if also_off else "No active customer fits.",
            link=Link("Create one", TABS["create"].path),
        ),
        note=f"The {OFFERED} who spend most this month; search for others." if found["next_cursor"] else "",
    )
    lost = [Notice("warn", "There is no such customer.")] if visit.query.get("customer_id") else []
    return Card("Choose a customer", [*lost, form, table, TIP], subtitle=why)
