"""Usage without a selected customer: who spends, over time and in a list, and the way to select one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kaixu.edge.response import Reply
from kaixu.web.api_calls import QueryValue
from kaixu.web.chart_parts import MEASURES, usage_chart_part
from kaixu.web.components import Card, Column, Empty, Field, Form, Link, Money, Number, Page, Prose, Row, Table
from kaixu.web.months import chosen_month, month_field
from kaixu.web.navigation import TABS
from kaixu.web.twins import curl_of, twins_of
from kaixu.web.visits import Visit

TAB = TABS["usage"]
TOP = "admin-usage-top"
LIMIT = 20


async def everybody(visit: Visit) -> Page | Reply:
    """The page without a customer."""
    month = chosen_month(visit)
    query: dict[str, QueryValue] = {"month": month, "limit": LIMIT}
    top = await visit.api.get(TOP, **query)
    over_time = await visit.api.get("admin-usage-chart", month=month, by="customer", interval="day", series=8)
    measure = visit.query.get("show", "")
    measure = measure if measure in MEASURES else "spent"
    others = [Link(title, visit.changed(show=one)) for one, (title, _) in MEASURES.items() if one != measure]

    def selected(series: str) -> str:
        number = series.partition(" ")[0]
        return visit.url(TAB.path, customer_id=number, month=month) if number.isdigit() else ""

    title = f"{MEASURES[measure][0]} by day and customer"
    chart = usage_chart_part(over_time, measure, id="usage-chart", title=title, href=selected)
    table = Table(
        id="usage-top",
        caption="Customers that spent most",
        columns=[
            Column(title="Customer", wide=True),
            Column(title="Spent", align="right"),
            Column(title="Vendor cost", align="right", phone=False),
            Column(title="Margin", align="right", hint="Without calls whose vendor cost is not known"),
            Column(title="Calls", align="right"),
            Column(title="Tokens", align="right", phone=False),
        ],
        rows=[top_row(visit, one, month) for one in top["rows"]],
        empty=Empty(text="Nobody has spent anything in this month.",
                    link=Link("All customers", TABS["customers"].path)),
    )  # fmt: skip
    find = Form(
        action=TABS["customers"].path, method="get", inline=True, submit="Find",
        fields=[Field(name="q", label="Find a customer", type="search", maxlength=200, placeholder="E-mail or id")],
    )  # fmt: skip
    choose = Form(action=TAB.path, method="get", inline=True, submit="Load usage", fields=[month_field(month)])
    about = Prose(
        paragraphs=[
            "This is the usage of all customers. Choose one for its cards, its calls, and how each charge came about: "
            "click a row or a name below the chart, or find it."
        ]
    )
    return Page(
        title=TAB.title,
        subtitle=f"All customers · {top['month'] or month} (UTC)",
        parts=[
            Card("All customers", [choose, about], width=6),
            Card("One customer", [find], width=6),
            Card(title, [chart], links=others),
            table,
        ],
        twins=twins_of(visit),
        curl=curl_of(visit, TOP, query),
    )


def top_row(visit: Visit, one: Mapping[str, Any], month: str) -> Row:
    """A customer that spent; a click selects it."""
    return Row(
        href=visit.url(TAB.path, customer_id=one["id"], month=month),
        drawer=False,
        cells=[
            one["name"] or f"customer {one['id']}",
            Money(one["spent_usd"]),
            Money(one["vendor_cost_usd"]),
            Money(one["margin_usd"], is_signed=False),
            Number(one["calls"]),
            Number(one["input_tokens"] + one["output_tokens"]),
        ],
    )
