"""The overview: today and the month, what needs attention, who spends most, and what happens now."""

from __future__ import annotations

from asyncio import gather
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.web.api_calls import QueryValue
from kaixu.web.caps import cap_meter, cap_state, percent_of
from kaixu.web.components import (
    Badge,
    Card,
    Column,
    Empty,
    Link,
    Markup,
    Money,
    Number,
    Page,
    Part,
    Row,
    Sparkline,
    Table,
    Time,
)
from kaixu.web.navigation import TABS
from kaixu.web.site import Site
from kaixu.web.twins import curl_of, twins_of
from kaixu.web.visits import Visit

from .event_words import EVENT, SAMPLE_EVENT, level_badge, summary_of
from .first_steps import first_steps, is_empty
from .key_actions import DETAILS as KEY
from .keys import REQUESTS
from .lane_cells import INTEGRATION, LANE, MODEL
from .overview_chart import VIEWS, chart_card
from .overview_figures import month_figures, today_figures

TAB = TABS["overview"]
LIVE_ROWS = 7
LIVE_COLUMNS = "time level summary"

#: What an item is about, in the words of its badge.
KINDS = {
    "lane": "Lane", "integration": "Integration", "config": "kaixu.yaml", "breaker": "Breaker", "vendor": "Vendor",
    "customer_cap": "Cap", "key_cap": "Cap of a key", "margin": "Margin", "price": "Below cost", "webhook": "Webhook",
    "lost_webhook": "Webhook", "alerts": "Alerts", "mail": "Mail", "monitor": "Events lost", "queue": "Queue",
    "key_request": "Requests", "rollups": "Figures", "settlements": "Settlements",
}  # fmt: skip


#: The pages below a tab that show an item of a kind, by its parameters.
PLACES = {
    ("lanes", "lane"): LANE, ("lanes", "breaker"): LANE, ("lanes", "vendor"): LANE, ("lanes", "price"): MODEL,
    ("lanes", "margin"): MODEL, ("lanes", "integration"): INTEGRATION, ("keys", "key_request"): REQUESTS,
    ("keys", "key_cap"): KEY,
}  # fmt: skip


def overview_pages(site: Site) -> list[Route]:
    """The routes of the tab."""
    return site.operator_page(TAB.path, overview, tab=TAB, twin=figures_of)


def figures_of(visit: Visit) -> tuple[str, Mapping[str, QueryValue]]:
    """The endpoint of the figures."""
    return "admin-overview", {}


async def overview(visit: Visit) -> Page | Reply:
    """Everything at a glance; in an empty installation, the first three steps."""
    name, query = figures_of(visit)
    view = visit.query.get("view", "")
    view = view if view in VIEWS else "month"
    figures, chart, live = await gather(visit.api.get(name, **query), chart_card(visit, view), live_card(visit))
    parts: list[Part] = []
    if is_empty(figures):
        parts += await first_steps(visit)
    parts += [
        today_figures(visit, figures),
        month_figures(visit, figures),
        chart,
        attention_card(visit, figures["attention"]),
        customers_card(visit, figures),
        live,
        models_card(figures),
    ]
    return Page(
        title=TAB.title,
        subtitle=f"Days in {figures['reporting_zone']}, amounts in USD.",
        parts=parts,
        actions=[view_link(visit, one, view) for one in VIEWS],
        twins=twins_of(visit),
        curl=curl_of(visit, name, query),
        scripts=["tail.js"],
    )


def view_link(visit: Visit, name: str, chosen: str) -> Link:
    """The link to another time of the chart."""
    return Link(VIEWS[name], visit.changed(view=name), icon="check" if name == chosen else "")


def attention_card(visit: Visit, attention: Mapping[str, Any]) -> Card:
    """What an operator should look at, the worst first; each leads to where something can be done."""
    items = attention["items"]
    hidden = attention["count"] - len(items)
    table = Table(
        id="attention",
        caption="What needs attention" if items else "",
        columns=[Column(title="About"), Column(title="What", wide=True)],
        rows=[
            Row(
                cells=[Badge(one["state"], KINDS.get(one["kind"], one["kind"].replace("_", " "))), one["text"]],
                href=visit.url(place_of(one), **one["parameters"]),
                drawer=False,
            )
            for one in items
        ],
        empty=Empty(text="Nothing: lanes are on, no cap is near, nothing waits."),
        note=f"and {hidden:,} more of these" if hidden > 0 else "",
    )
    words = "nothing" if not attention["count"] else f"{attention['count']:,}"
    return Card("Needs attention", [table], subtitle=words, width=4)


def place_of(item: Mapping[str, Any]) -> str:
    """The page of an item: its own one below its tab, or the tab."""
    return PLACES.get((item["tab"], item["kind"]), TABS[item["tab"]].path)


def customers_card(visit: Visit, figures: Mapping[str, Any]) -> Card:
    """The customers that spent most this month."""
    table = Table(
        id="top-customers",
        caption="Customers that spent most",
        columns=[
            Column(title="Customer", wide=True),
            Column(title="Spent", align="right"),
            Column(title="Of cap"),
            Column(title="Held", align="right"),
            Column(title="14 days"),
            Column(title="State"),
        ],
        rows=[customer_row(visit, one) for one in figures["top_customers"]],
        empty=Empty(text="No customer has spent anything this month."),
    )
    links = [Link("All customers", visit.url(TABS["customers"].path, sort="spent", order="desc"))]
    return Card("Top customers", [table], subtitle="this month", links=links, width=8)


def customer_row(visit: Visit, one: Mapping[str, Any]) -> Row:
    """A customer: spent and held are apart; the bar is about both."""
    used, cap = Decimal(one["spent_usd"]) + Decimal(one["held_usd"]), Decimal(one["cap_usd"])
    state = cap_badge(used, cap) if one["is_active"] else Badge("off", "switched off")
    return Row(
        id=f"customer-{one['customer_id']}",
        href=visit.url(TABS["usage"].path, customer_id=one["customer_id"]),
        drawer=False,
        cells=[
            one["email"],
            Money(one["spent_usd"]),
            cap_meter(used, cap, f"{percent_of(used, cap)} of ${cap:,.0f}"),
            Money(one["held_usd"]),
            Sparkline([float(day) for day in one["spent_by_day_usd"]], f"Spend of {one['email']} in 14 days"),
            state,
        ],
    )


def cap_badge(used: Decimal, cap: Decimal) -> Badge:
    """How near a cap is, in words."""
    state = cap_state(used, cap)
    return Badge("good", "active") if state == "info" else Badge(state, "cap reached" if state == "bad" else "cap near")


def models_card(figures: Mapping[str, Any]) -> Card:
    """The models that brought most this month, and what is left of it."""
    table = Table(
        id="top-models",
        caption="Models by revenue",
        columns=[
            Column(title="Provider/Model", wide=True),
            Column(title="Calls", align="right"),
            Column(title="Tokens", align="right"),
            Column(title="Revenue", align="right"),
            Column(title="Vendor cost", align="right"),
            Column(title="Margin", align="right"),
            Column(title="14 days"),
        ],
        rows=[
            Row(
                cells=[
                    f"{one['provider']}/{one['model']}",
                    Number(one["calls"]),
                    Number(one["tokens"]),
                    Money(one["spent_usd"]),
                    Money(one["vendor_cost_usd"]),
                    margin_cell(one),
                    Sparkline([float(day) for day in one["spent_by_day_usd"]], f"Revenue of {one['model']} in 14 days"),
                ]
            )
            for one in figures["top_models"]
        ],
        empty=Empty(text="No model was called this month.", link=Link("Lanes & plugins", TABS["lanes"].path)),
        note="Margins leave out calls whose vendor cost is not known.",
    )
    links = [Link("Prices", TABS["lanes"].path)]
    return Card("Top models", [table], subtitle="this month", links=links)


def margin_cell(one: Mapping[str, Any]) -> Number | Badge | None:
    """The margin in percent; a loss stands out."""
    percent = one["margin_percent"]
    if percent is None:
        return None
    return Badge("bad", f"{percent:.1f} %") if percent < 0 else Number(float(percent), unit="%", digits=1)


async def live_card(visit: Visit) -> Card:
    """The newest events, as they come."""
    events = (await visit.api.get("admin-monitor-events", limit=LIVE_ROWS))["events"][::-1]
    newest = events[0]["id"] if events else None
    live = Markup(
        "monitor_tail.html",
        {
            "part_id": "live",
            "table": live_table([live_row(one) for one in events]),
            "sample": live_table([live_row(SAMPLE_EVENT)]),
            "stream": visit.url("/api/admin-monitor-stream", after_id=newest),
            "newest_href": TAB.path,
            "columns": LIVE_COLUMNS,
            "most": LIVE_ROWS,
        },
    )
    return Card("Live", [live], links=[Link("Monitor", TABS["monitor"].path)], width=4)


def live_table(rows: list[Row]) -> Table:
    """The strip of events."""
    return Table(
        id="live-events",
        caption="Newest events",
        columns=[
            Column(title="Time"),
            Column(title="Level"),
            Column(title="Summary", wide=True),
        ],
        rows=rows,
        empty=Empty(text="Nothing yet: errors, refusals and slow calls appear here as they happen."),
    )


def live_row(event: Mapping[str, Any]) -> Row:
    """An event in the strip."""
    return Row(
        id=f"event-{event['id']}",
        href=f"{EVENT}?id={event['id']}",
        cells=[
            Time(event["created_at"], form="time"),
            level_badge(event["level"]),
            summary_of(event),
        ],
    )
