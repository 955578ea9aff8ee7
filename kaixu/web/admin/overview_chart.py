"""The chart of the overview: revenue by model, of the month or of seven days, or compared with the month before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kaixu.web.api_calls import QueryValue
from kaixu.web.chart_parts import usage_chart_part, values_of
from kaixu.web.components import Card, Chart, Link, Series
from kaixu.web.months import month_before, this_month
from kaixu.web.navigation import TABS
from kaixu.web.visits import Visit

#: The times that the chart can show, by their name in the address.
VIEWS = {"month": "Month to date", "7d": "7 days", "compare": "Compare"}

MOST_SERIES = 5


async def chart_card(visit: Visit, view: str) -> Card:
    """The chart, with its data as a file."""
    month = this_month()
    if view == "compare":
        return await comparison(visit, month, month_before(month))
    query: dict[str, QueryValue] = {"by": "model", "interval": "day", "series": MOST_SERIES}
    query |= {"from": "now-6d"} if view == "7d" else {"month": month}
    reply = await visit.api.get("admin-usage-chart", **query)
    chart = usage_chart_part(reply, "spent", id="revenue", title="Revenue by model")
    return card(visit, chart, "Revenue by model", query)


async def comparison(visit: Visit, month: str, before: str) -> Card:
    """The days of a month beside those of the month before."""
    query: dict[str, QueryValue] = {"month": month, "by": "total", "interval": "day"}
    now = await visit.api.get("admin-usage-chart", **query)
    then = await visit.api.get("admin-usage-chart", **{**query, "month": before})
    days, days_before = by_day(now), by_day(then)
    most = max(len(days), len(days_before))
    chart = Chart(
        id="revenue",
        title="Revenue by day",
        labels=[str(day) for day in range(1, most + 1)],
        series=[
            Series(name=month, values=padded(days, most)),
            Series(name=before, values=padded(days_before, most)),
        ],
        form="lines",
        unit="usd",
        zone=now["reporting_zone"],
    )
    return card(visit, chart, "Revenue, this month and the last", query)


def card(visit: Visit, chart: Chart, title: str, query: Mapping[str, QueryValue]) -> Card:
    """The chart as a card."""
    file = visit.url("/api/admin-usage-chart", **{**query, "format": "csv"})
    links = [Link("CSV", file, download=True), Link("Usage", TABS["usage"].path)]
    return Card(title, [chart], links=links, width=8)


def by_day(reply: Mapping[str, Any]) -> list[float]:
    """The revenue of each day that has begun, days without calls included."""
    starts, values = values_of(reply, "spent")
    return [sum(column) for column in zip(*values.values(), strict=True)] or [0.0] * len(starts)


def padded(values: list[float], length: int) -> list[float | None]:
    """The values of a month's days; None for days that it does not have, or that have not begun."""
    return [*values, *([None] * (length - len(values)))]
