"""The tab of the timeline: what operators changed and what the gateway noticed, in one list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.web.api_calls import ApiFailure, QueryValue
from kaixu.web.components import Badge, Column, Empty, Field, Form, Link, Option, Page, Row, Table, Time
from kaixu.web.filter_problems import marked, nothing_fits
from kaixu.web.lists import pages_of
from kaixu.web.navigation import TABS
from kaixu.web.site import Site
from kaixu.web.twins import curl_of, twins_of
from kaixu.web.visits import Visit

from .event_words import EVENT, LEVELS, plain

TAB = TABS["timeline"]
ENTRY = "/gateway/timeline/entry"
LIMIT = 100
#: The names of changed fields that a row shows.
MOST_NAMES = 4
FILTERS = ("source", "actor", "action", "target", "customer_id", "app_id", "request_id", "from", "to")

SOURCES = (Option("", "all"), Option("audit", "changes"), Option("gateway", "gateway"))
ACTORS = ("admin", "operator", "token", "cli", "key", "gateway")
#: The actions that are looked for most; any other can be typed.
ACTIONS = (
    "CUSTOMER_CREATE", "CUSTOMER_UPDATE", "KEY_CREATE", "KEY_REVOKE", "KEY_ROTATE", "TOPUP_MANUAL",
    "INVOICE_FINALIZE", "OPERATOR_LOGIN_FAIL", "ADMIN_LOGIN_FAIL", "MONITOR_PRUNE",
)  # fmt: skip
TIMES = ("now-1h", "now-24h", "now-7d", "now-30d")

COLUMNS = (
    Column(title="Time"),
    Column(title="Source"),
    Column(title="Actor"),
    Column(title="Action"),
    Column(title="Target"),
    Column(title="Status"),
    Column(title="Summary", wide=True),
)


def timeline_pages(site: Site) -> list[Route]:
    """The routes of the tab."""
    return site.operator_page(TAB.path, timeline, tab=TAB, twin=list_of)


def list_of(visit: Visit) -> tuple[str, Mapping[str, QueryValue]]:
    """The endpoint of the list, with the filters of the page."""
    filters = {name: visit.query.get(name) for name in FILTERS}
    return "admin-platform-events", {"limit": LIMIT, **filters, "cursor": visit.query.get("cursor")}


async def timeline(visit: Visit) -> Page | Reply:
    """The list, newest first."""
    name, query = list_of(visit)
    form = filter_form(visit)
    rows: list[Row] = []
    next_href = first_href = ""
    empty, status = empty_of(visit), 200
    try:
        reply = await visit.api.get(name, **query)
        rows = [entry_row(one) for one in reply["events"]]
        next_href, first_href = pages_of(visit, reply["next_cursor"])
    except ApiFailure as failure:
        form, status, empty = marked(form, failure), failure.status, nothing_fits(TAB.path)
    table = Table(
        id="entries",
        caption="Entries",
        columns=COLUMNS,
        rows=rows,
        next_href=next_href,
        first_href=first_href,
        empty=empty,
    )
    return Page(
        title="Platform timeline",
        subtitle="Who changed what, and what the gateway noticed, in one list. Changes show before and after.",
        parts=[form, table],
        twins=twins_of(visit),
        curl=curl_of(visit, name, query),
        status=status,
    )


def entry_row(entry: Mapping[str, Any]) -> Row:
    """An entry; it opens in the drawer."""
    is_change = entry["source"] == "audit"
    href = f"{ENTRY}?id={entry['id']}" if is_change else f"{EVENT}?id={entry['id']}"
    return Row(
        id=f"{entry['source']}-{entry['id']}",
        href=href,
        cells=[
            Time(entry["created_at"], form="exact"),
            Badge("off", "change") if is_change else Badge("info", "gateway"),
            plain(entry["actor"]),
            plain(entry["action"]),
            plain(entry["targetLabel"]),
            status_cell(entry),
            summary_of(entry),
        ],
    )


def summary_of(entry: Mapping[str, Any]) -> str:
    """What happened; of a change, which fields it changed: who and what are in columns of their own."""
    if entry["source"] != "audit":
        return str(entry["summary"])
    before, after = entry["meta"].get("before") or {}, entry["meta"].get("after") or {}
    names = [name for name in dict.fromkeys((*before, *after)) if before.get(name) != after.get(name)]
    if not names:
        return str(entry["action"]).replace("_", " ").replace(".", " ").lower()
    shown = ", ".join(name.replace("_", " ") for name in names[:MOST_NAMES])
    verb = "changed" if before and after else "removed" if before else "set"
    return f"{verb} {shown}" + (f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else "")


def status_cell(entry: Mapping[str, Any]) -> Badge:
    """The status of a request; of a change that it was made."""
    if entry["http_status"]:
        return Badge(LEVELS.get(entry["level"], "off"), str(entry["http_status"]))
    if entry["source"] == "audit":
        is_refusal = str(entry["action"]).endswith("_FAIL")
        return Badge("bad", "refused") if is_refusal else Badge("good", "done")
    return Badge(LEVELS.get(entry["level"], "off"), entry["level"])


def empty_of(visit: Visit) -> Empty:
    """Why there is no entry."""
    if any(visit.query.get(name) for name in FILTERS):
        return Empty(text="Nothing fits these filters.", link=Link("Remove the filters", TAB.path))
    first = Link("Create a customer", TABS["create"].path)
    return Empty(text="Nothing has happened yet. The first change appears here.", link=first)


def filter_form(visit: Visit) -> Form:
    """The filters."""

    def value(name: str) -> str:
        return visit.query.get(name, "")

    surfaces = sorted(visit.services.platforms.surfaces)
    fields = [
        Field(name="source", label="Source", type="select", value=value("source"), options=SOURCES),
        Field(name="actor", label="Actor", value=value("actor"), maxlength=200, suggestions=ACTORS),
        Field(name="action", label="Action", value=value("action"), maxlength=200, suggestions=ACTIONS),
        Field(name="target", label="Target", value=value("target"), maxlength=200, placeholder="key:7"),
        Field(name="customer_id", label="Customer id", value=value("customer_id"), maxlength=18),
        Field(name="request_id", label="Request id", value=value("request_id"), maxlength=200),
        Field(name="from", label="From", value=value("from"), maxlength=40, placeholder="now-7d", suggestions=TIMES),
        Field(name="to", label="To", value=value("to"), maxlength=40, placeholder="now", suggestions=TIMES),
    ]
    if surfaces:
        fields.append(
            Field(name="app_id", label="Surface", type="select", value=value("app_id"),
                  options=[Option("", "all"), *(Option(one, one) for one in surfaces)])
        )  # fmt: skip
    return Form(
        action=TAB.path,
        method="get",
        inline=True,
        target="entries",
        submit="Filter",
        fields=fields,
        id="timeline-filter",
    )
