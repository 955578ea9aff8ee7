"""The tab of monitor events: search, pages into the past, and the live tail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kaixu.accounts.operator_identity import SETTINGS
from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.web.api_calls import ApiFailure, QueryValue, query_text
from kaixu.web.components import Empty, Field, Form, Link, Markup, Option, Page, Part, Prose, Row, Table
from kaixu.web.filter_problems import marked, nothing_fits
from kaixu.web.lists import pages_of
from kaixu.web.navigation import TABS
from kaixu.web.site import Site
from kaixu.web.twins import curl_of, twins_of
from kaixu.web.visits import Visit

from .event_words import COLUMNS, SAMPLE_EVENT, TAIL_COLUMNS, event_row
from .monitor_done import pruned_notice

TAB = TABS["monitor"]
PRUNE = "/gateway/monitor/prune"
ARCHIVE = "/gateway/monitor/archive"
STREAM = "/api/admin-monitor-stream"

LIMIT = 100
#: The rows that the live tail leaves in the table.
MOST_ROWS = 500
#: The filters of the page; all but the last two are filters of the live tail, too.
FILTERS = (
    "level", "kind", "function", "app", "request_id", "customer_id", "api_key_id", "provider", "model", "status",
    "code", "from", "to",
)  # fmt: skip
STREAM_FILTERS = FILTERS[:-2]

LEVELS = (Option("", "all"), Option("error", "error"), Option("warn", "warn"), Option("info", "info"))
KINDS = (
    "error", "blocked", "rate_limited", "slow", "audit", "client_error", "alert", "info",
)  # fmt: skip
FUNCTIONS = (
    "gateway-chat", "gateway-stream", "gateway-embed", "gateway-embed-search", "chat-completions", "messages",
    "responses", "client-error-report",
)  # fmt: skip
TIMES = ("now-15m", "now-1h", "now-24h", "now-7d")

TIPS = (
    "Ask your clients to send x-kaixu-app with the name of their application and x-kaixu-build with its version: both "
    "are on every event and every call, so you can filter by them here and see what each application spends.",
    "An application that fails before it reaches the gateway can tell you, too: POST {error: {name, message, stack}} "
    "to /api/client-error-report. It needs no key, and arrives here with the kind client_error.",
)


def monitor_pages(site: Site) -> list[Route]:
    """The routes of the tab."""
    return site.operator_page(TAB.path, monitor, tab=TAB, twin=list_of)


def list_of(visit: Visit) -> tuple[str, Mapping[str, QueryValue]]:
    """The endpoint of the list, with the filters of the page."""
    filters = {name: visit.query.get(name) for name in FILTERS}
    return "admin-monitor-events", {"limit": LIMIT, **filters, "before_id": visit.query.get("cursor")}


async def monitor(visit: Visit) -> Page | Reply:
    """The list and its live tail."""
    name, query = list_of(visit)
    form = filter_form(visit)
    status = 200
    try:
        reply = await visit.api.get(name, **query)
        shown: Part = events_part(visit, reply)
    except ApiFailure as failure:
        form, status = marked(form, failure, {"before_id": "cursor"}), failure.status
        shown = Table(id="events", caption="Events", columns=COLUMNS, rows=[], empty=nothing_fits(TAB.path))
    actions = [Link("Archive", ARCHIVE, icon="layers")]
    if visit.may(SETTINGS):
        actions.append(Link("Prune", PRUNE, icon="trash-2"))
    tips = Prose(paragraphs=TIPS, tip=True)
    return Page(
        title=TAB.title,
        subtitle="Errors, refusals, slow calls and changes, of all gateways of this database, as they happen.",
        parts=[*await pruned_notice(visit), form, shown, tips],
        actions=actions,
        twins=twins_of(visit),
        curl=curl_of(visit, name, query),
        scripts=["tail.js"],
        status=status,
    )


def events_part(visit: Visit, reply: Mapping[str, Any]) -> Markup:
    """The events, newest first, below the state of the live tail; older pages have none."""
    events = reply["events"][::-1]
    next_href, first_href = pages_of(visit, reply["next_before_id"])
    note = f"{reply['dropped']} events were lost in this process: its queue was full." if reply["dropped"] else ""
    table = events_table([event_row(one) for one in events], empty_of(visit), next_href, first_href, note)
    is_past = bool(visit.query.get("cursor") or visit.query.get("to"))
    newest = events[0]["id"] if events else None
    filters = {one: visit.query.get(one) for one in STREAM_FILTERS}
    return Markup(
        "monitor_tail.html",
        {
            "part_id": "monitor-events",
            "table": table,
            "sample": events_table([event_row(SAMPLE_EVENT)]),
            "stream": "" if is_past else f"{STREAM}?{query_text({**filters, 'after_id': newest})}",
            "newest_href": visit.changed(to=None),
            "columns": TAIL_COLUMNS,
            "most": MOST_ROWS,
        },
    )


def events_table(
    rows: list[Row], empty: Empty | None = None, next_href: str = "", first_href: str = "", note: str = ""
) -> Table:
    """The table of events."""
    return Table(
        id="events",
        caption="Events",
        columns=COLUMNS,
        rows=rows,
        next_href=next_href,
        first_href=first_href,
        empty=empty or Empty(text=""),
        note=note,
        target="monitor-events",
    )


def empty_of(visit: Visit) -> Empty:
    """Why there is no event."""
    if any(visit.query.get(name) for name in FILTERS):
        return Empty(
            text="No event fits these filters. New ones appear here.", link=Link("Remove the filters", TAB.path)
        )
    return Empty(
        text="Nothing went wrong so far: calls that succeed are under Usage, what fails, is slow or is refused appears "
        "here by itself.",
        link=Link("Usage", TABS["usage"].path),
    )


def filter_form(visit: Visit) -> Form:
    """The search. Everything is compared exactly."""

    def value(name: str) -> str:
        return visit.query.get(name, "")

    providers = sorted(visit.services.catalog.lanes)
    fields = [
        Field(name="level", label="Level", type="select", value=value("level"), options=LEVELS),
        Field(name="kind", label="Kind", type="select", value=value("kind"),
              options=[Option("", "all"), *(Option(one, one.replace("_", " ")) for one in KINDS)]),
        Field(name="function", label="Function", value=value("function"), maxlength=200, suggestions=FUNCTIONS),
        Field(name="app", label="App", value=value("app"), maxlength=200),
        Field(name="request_id", label="Request id", value=value("request_id"), maxlength=200),
        Field(name="customer_id", label="Customer id", value=value("customer_id"), maxlength=18),
        Field(name="provider", label="Provider", value=value("provider"), maxlength=200, suggestions=providers),
        Field(name="model", label="Model", value=value("model"), maxlength=200),
        Field(name="status", label="Status", value=value("status"), maxlength=3),
        Field(name="code", label="Error code", value=value("code"), maxlength=200),
        Field(name="from", label="From", value=value("from"), maxlength=40, placeholder="now-24h", suggestions=TIMES),
        Field(name="to", label="To", value=value("to"), maxlength=40, placeholder="now", suggestions=TIMES),
    ]  # fmt: skip
    hidden = {"api_key_id": value("api_key_id")} if value("api_key_id") else {}
    return Form(
        action=TAB.path,
        method="get",
        inline=True,
        target="monitor-events",
        submit="Search",
        fields=fields,
        hidden=hidden,
        id="monitor-filter",
    )
