"""The audit log: who changed what, from where, with the fields before and after."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec

from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.plugin.errors import NotFound
from kaixu.web.api_calls import QueryValue
from kaixu.web.components import (
    Card,
    Cell,
    Code,
    Column,
    Empty,
    Facts,
    Field,
    Form,
    Link,
    Muted,
    Page,
    Part,
    Prose,
    Row,
    Snippet,
    Stack,
    Table,
    Time,
)
from kaixu.web.lists import pages_of
from kaixu.web.navigation import TABS
from kaixu.web.site import Site
from kaixu.web.twins import curl_of, twins_of
from kaixu.web.visits import Visit

from .change_targets import target_link
from .operator_views import AUDIT, ENTRY, SESSIONS, TAB, TOKENS, views

LIMIT = 50
FILTERS = ("actor", "action", "target", "customer_id", "operator_id", "request_id", "since", "until", "cursor")

#: Actions that are often looked for; any other can be typed.
ACTIONS = (
    "CUSTOMER_CREATE", "CUSTOMER_UPDATE", "KEY_CREATE", "KEY_UPDATE", "KEY_ROTATE", "KEY_REVOKE", "TOPUP_MANUAL",
    "ADMIN_LOGIN_OK", "OPERATOR_LOGIN_OK", "OPERATOR_LOGIN_FAIL", "OPERATOR_CREATE", "OPERATOR_UPDATE",
    "OPERATOR_TOKEN_CREATE", "OPERATOR_TOKEN_REVOKE", "LANE_TEST",
)  # fmt: skip

#: The longest text of a value in a table of differences; the rest is in the JSON below.
MOST_TEXT = 200

ABOUT = Prose(
    tip=True,
    paragraphs=[
        "Every change is written here in the same transaction as the change itself, and nothing is ever removed: "
        "neither from these pages nor by the API. Keys, passwords and secrets are never part of an entry."
    ],
)


def audit_routes(site: Site) -> list[Route]:
    """The routes of the log."""
    return [
        *site.operator_page(AUDIT, audit, tab=TAB, twin=list_of),
        *site.operator_page(ENTRY, entry, tab=TAB),
    ]


def list_of(visit: Visit) -> tuple[str, Mapping[str, QueryValue]]:
    """The endpoint of the log, with the filters of the page."""
    return "admin-audit", {"limit": LIMIT, **{name: visit.query.get(name) for name in FILTERS}}


async def audit(visit: Visit) -> Page | Reply:
    """A page of the log."""
    name, query = list_of(visit)
    reply = await visit.api.get(name, **query)
    given = visit.query
    next_href, first_href = pages_of(visit, reply["next_cursor"])
    is_filtered = any(given.get(one) for one in FILTERS if one != "cursor")
    hidden = {one: given[one] for one in ("operator_id", "customer_id") if given.get(one)}
    filters = Form(
        action=AUDIT,
        method="get",
        inline=True,
        target="audit",
        submit="Filter",
        hidden=hidden,
        fields=[
            Field(name="actor", label="Who", value=given.get("actor", ""), maxlength=200,
                  placeholder="operator:ada@…", suggestions=["admin", "operator", "token", "cli"]),
            Field(name="action", label="Action", value=given.get("action", ""), maxlength=200, suggestions=ACTIONS),
            Field(name="target", label="Object", value=given.get("target", ""), maxlength=200,
                  placeholder="customer:12", suggestions=["customer", "key", "operator", "token", "lane", "platform"]),
            Field(name="request_id", label="Request", value=given.get("request_id", ""), maxlength=200),
            Field(name="since", label="Since", value=given.get("since", ""), maxlength=40, placeholder="now-7d"),
            Field(name="until", label="Until", value=given.get("until", ""), maxlength=40, placeholder="now"),
        ],
    )  # fmt: skip
    table = Table(
        id="audit",
        caption="Audit log",
        columns=[
            Column(title="Time"),
            Column(title="Who"),
            Column(title="Action"),
            Column(title="Object"),
            Column(title="Changes", wide=True),
            Column(title="From", phone=False),
        ],
        rows=[entry_row(one) for one in reply["entries"]],
        next_href=next_href,
        first_href=first_href,
        empty=Empty(text="No entry fits these filters.", link=Link("Show all", AUDIT))
        if is_filtered
        else Empty(text="Nothing has been changed yet."),
        note="A click shows the fields before and after.",
    )
    return Page(
        title="Audit log",
        subtitle="Who changed what, when and from where.",
        parts=[views(visit), filters, table, ABOUT],
        twins=twins_of(visit) if visit.path == AUDIT else (),
        curl=curl_of(visit, name, query),
    )


def entry_row(one: Mapping[str, Any]) -> Row:
    """An entry's row."""
    return Row(
        href=f"{ENTRY}?{urlencode({'id': one['id']})}",
        cells=[
            Time(one["created_at"]),
            one["actor"],
            one["action"],
            one["target"],
            changes_cell(one),
            Muted(one["address"] or "–"),
        ],
    )


def changes_cell(one: Mapping[str, Any]) -> Cell:
    """The changed fields, short."""
    changes = one["changes"]
    if not changes:
        told = ", ".join(f"{name}: {shown(value, 40)}" for name, value in one["meta"].items() if value is not None)
        return Muted(shown(told, 120) if told else "–")
    if one["before"] is None:
        return Muted(f"created, {len(changes)} {'field' if len(changes) == 1 else 'fields'}")
    lines = [f"{name}: {shown(before, 40)} → {shown(after, 40)}" for name, (before, after) in changes.items()]
    more: list[Cell] = [Muted(f"and {len(lines) - 2} more")] if len(lines) > 2 else []
    return Stack([*lines[:2], *more], lines=True)


def shown(value: object, most: int = MOST_TEXT) -> str:
    """A value of a row, short: text as it is, everything else as JSON."""
    if value is None:
        return "–"
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= most else f"{text[: most - 1]}…"


async def entry(visit: Visit) -> Page | Reply:
    """One entry: who, from where, and field by field before and after."""
    number = visit.query.get("id", "")
    found = None
    if number.isdecimal() and len(number) < 18:
        # The log is read from the newest on: the first entry below the next number is this one.
        reply = await visit.api.get("admin-audit", cursor=int(number) + 1, limit=1)
        found = next((one for one in reply["entries"] if str(one["id"]) == number), None)
    if found is None:
        raise NotFound("there is no such entry in the audit log")
    facts: list[tuple[str, Cell]] = [
        ("Time", Time(found["created_at"])),
        ("Who", Link(found["actor"], f"{AUDIT}?{urlencode({'actor': found['actor']})}")),
        ("Action", Link(found["action"], f"{AUDIT}?{urlencode({'action': found['action']})}")),
        ("Object", target_link(visit, found) or found["target"]),
        ("From", found["address"] or Muted("–")),
        ("Session", Link(str(found["session_id"]), SESSIONS) if found["session_id"] else Muted("–")),
        ("Token", Link(str(found["token_id"]), TOKENS) if found["token_id"] else Muted("–")),
        ("Request", request_cell(found["request_id"])),
    ]
    parts: list[Part] = [Card("Entry", [Facts(facts)])]
    if found["changes"]:
        parts.append(differences(found))
    if found["meta"]:
        parts.append(Card("Details", [Snippet(pretty(found["meta"]), language="json")]))
    whole = {name: found[name] for name in ("before", "after") if found[name] is not None}
    if whole:
        parts.append(Card("The whole rows", [Snippet(pretty(whole), language="json")], open=False))
    ways = [
        Link("All about this object", f"{AUDIT}?{urlencode({'target': found['target']})}"),
        Link("Audit log", AUDIT),
    ]
    return Page(title=f"{found['action']} {found['target']}", parts=parts, actions=ways)


def differences(found: Mapping[str, Any]) -> Table:
    """The changed fields with their values before and after."""
    return Table(
        id="differences",
        caption="Differences",
        columns=[Column(title="Field"), Column(title="Before"), Column(title="After", wide=True)],
        rows=[
            Row(cells=[name, Muted(shown(before)), shown(after)]) for name, (before, after) in found["changes"].items()
        ],
    )


def pretty(value: object) -> str:
    """A value as JSON over several lines."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def request_cell(request_id: str | None) -> Cell:
    """The request, with its other events in the monitor."""
    if not request_id:
        return Muted("–")
    href = f"{TABS['monitor'].path}?{urlencode({'request_id': request_id})}"
    return Stack([Code(request_id, copy=True), Link("Monitor", href)])
