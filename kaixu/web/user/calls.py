"""The dashboard's calls: what each cost, by month or range, filtered; a row explains its charge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.web.api_calls import ApiFailure, QueryValue
from kaixu.web.call_cells import cents_cell, end_badge, seconds
from kaixu.web.components import (
    Column,
    Empty,
    Field,
    Form,
    Link,
    Money,
    Muted,
    Number,
    Page,
    Row,
    Stack,
    Stat,
    Stats,
    Table,
    Time,
)
from kaixu.web.filter_problems import marked, nothing_fits
from kaixu.web.formats import counted
from kaixu.web.lists import pages_of
from kaixu.web.months import month_field, this_month
from kaixu.web.navigation import TABS
from kaixu.web.site import Site
from kaixu.web.twins import curl_of, twins_of
from kaixu.web.visits import Visit

from .charge import CALL
from .scope import scope_fields, scope_query

TAB = TABS["calls"]
LIMIT = 50
FILTERS = ("from", "to", "provider", "model", "app", "end_user", "api_key_id")


def call_list_pages(site: Site) -> list[Route]:
    """The routes of the tab."""
    return site.customer_page(TAB.path, calls, tab=TAB, twin=list_of)


def list_of(visit: Visit) -> tuple[str, Mapping[str, QueryValue]]:
    """The endpoint of the list, with the filters of the page. A range takes the place of the month."""
    query = visit.query
    month = None if query.get("from") or query.get("to") else query.get("month")
    filters = {name: query.get(name) for name in (*FILTERS, "before_id")}
    return "user-events", {"limit": LIMIT, "month": month, **filters, **scope_query(visit)}


async def calls(visit: Visit) -> Page | Reply:
    """The list."""
    name, query = list_of(visit)
    form = filter_form(visit)
    try:
        reply = await visit.api.get(name, **query)
    except ApiFailure as failure:
        form = marked(form, failure)
        table = Table(id="calls", columns=[Column(title="Time")], rows=[], empty=nothing_fits(TAB.path))
        return Page(title=TAB.title, parts=[form, table], status=failure.status)
    return Page(
        title=TAB.title,
        subtitle="A row opens the call: tokens × rate, to the nano-dollar.",
        parts=[form, sums(reply), table_of(visit, reply)],
        twins=twins_of(visit),
        curl=curl_of(visit, name, query),
    )


def filter_form(visit: Visit) -> Form:
    """What the list is narrowed by."""
    query = visit.query
    texts = (
        ("from", "From", "now-7d or a day"), ("to", "To", "a day"), ("provider", "Provider", ""),
        ("model", "Model", ""), ("app", "App", ""), ("end_user", "End user", ""),
    )  # fmt: skip
    ranged = bool(query.get("from") or query.get("to"))
    return Form(
        action=TAB.path,
        method="get",
        inline=True,
        submit="Filter",
        fields=[
            month_field("" if ranged else query.get("month") or this_month()),
            *(Field(name=name, label=label, value=query.get(name, ""), placeholder=shown, maxlength=200)
              for name, label, shown in texts),
            *scope_fields(visit),
        ],
    )  # fmt: skip


def sums(reply: Mapping[str, Any]) -> Stats:
    """What all calls that fit cost together, by provider: exact, not only of this page."""
    providers = reply["summary_by_provider"]
    stats = [
        Stat(one["provider"], Money(one["cost_usd"]),
             note=f"{counted(one['calls'], 'call')}, {counted(one['input_tokens'] + one['output_tokens'], 'token')}")
        for one in providers[:4]
    ]  # fmt: skip
    return Stats(stats or [Stat("Spent", Money("0"), note="no calls")])


def table_of(visit: Visit, reply: Mapping[str, Any]) -> Table:
    """The calls."""
    next_href, first_href = pages_of(visit, reply["next_before_id"], "before_id")
    is_filtered = any(visit.query.get(name) for name in FILTERS)
    return Table(
        id="calls",
        caption="Calls, newest first",
        columns=[
            Column(title="Time"),
            Column(title="Key", phone=False),
            Column(title="Provider", phone=False),
            Column(title="Model"),
            Column(title="Input", align="right", hint="Tokens, cached ones included"),
            Column(title="Output", align="right", hint="Tokens, reasoning included"),
            Column(title="Cost", align="right", hint="In dollars, exact on hover, and in cents"),
            Column(title="App", phone=False),
            Column(title="How it ended"),
            Column(title="Duration", align="right", phone=False),
        ],
        rows=[call_row(visit, one) for one in reply["events"]],
        next_href=next_href,
        first_href=first_href,
        empty=Empty(text="No call fits these filters.", link=Link("Show all of this month", TAB.path))
        if is_filtered
        else Empty(
            text="No calls in this month yet. Copy the first one from",
            link=Link("Integration", TABS["own-integration"].path),
        ),
        note="Refused calls cost nothing and are not listed.",
    )


def call_row(visit: Visit, one: Mapping[str, Any]) -> Row:
    """A call."""
    own = visit.key is not None and one["api_key_id"] == visit.key["id"]
    app = Stack([one["app_id"], Muted(one["build_id"])], lines=True) if one["build_id"] else one["app_id"]
    return Row(
        id=f"call-{one['id']}",
        href=visit.url(CALL, event=one["id"]),
        cells=[
            Time(one["created_at"]),
            "this key" if own else f"key {one['api_key_id']}",
            one["provider"],
            one["model"],
            Number(one["input_tokens"]),
            Number(one["output_tokens"]),
            cents_cell(one["cost_usd"], one["cost_cents"]),
            app,
            end_badge(one["end"]),
            seconds(one["duration_ms"]),
        ],
    )
