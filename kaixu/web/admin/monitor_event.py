"""One monitor event: everything that is known, as JSON too, and the ways to others like it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.plugin.errors import NotFound, Unprocessable
from kaixu.web.components import Card, Cell, Code, Facts, Link, Number, Page, Part, Prose, Snippet, Time
from kaixu.web.navigation import TABS
from kaixu.web.site import Site
from kaixu.web.visits import Visit

from .event_words import EVENT, level_badge, plain, summary_of
from .key_actions import DETAILS as KEY
from .usage_calls import CALL

TAB = TABS["monitor"]

#: The fields of an event that the Monitor can be filtered by: the filter, the field, and what it is called.
SAME = (
    ("request_id", "request_id", "Request"),
    ("function", "function_name", "Function"),
    ("app", "app_id", "App"),
    ("customer_id", "customer_id", "Customer"),
    ("api_key_id", "key_id", "Key"),
    ("provider", "provider", "Provider"),
    ("model", "model", "Model"),
    ("code", "error_code", "Code"),
    ("status", "http_status", "Status"),
    ("kind", "kind", "Kind"),
    ("level", "level", "Level"),
)


def monitor_event_pages(site: Site) -> list[Route]:
    """The route of one event."""
    return site.operator_page(EVENT, event_page, tab=TAB)


async def event_page(visit: Visit) -> Page | Reply:
    """The event with the id of the address. Raises `NotFound` once it was pruned."""
    number = visit.query.get("id", "")
    if not number.isascii() or not number.isdigit() or len(number) > 18:
        raise Unprocessable("`id` must be the number of an event", field="id")
    found = (await visit.api.get("admin-monitor-events", before_id=int(number) + 1, limit=1))["events"]
    if not found or found[0]["id"] != int(number):
        raise NotFound("this event is not here any more", hint="Old events are pruned; they are in the archive.")
    event = found[0]
    parts: list[Part] = [Card("Event", [Facts(facts_of(visit, event))])]
    if event["upstream_body"]:
        parts.append(
            Card("What the vendor answered", [Snippet(event["upstream_body"], title="Without what it quoted")])
        )
    if event["error_stack"]:
        parts.append(Card("Stack", [Snippet(event["error_stack"], title="As the client reported it")]))
    if links := links_of(visit, event):
        parts.append(Card("Filter by this", [Prose(paragraphs=[], links=links)]))
    text = msgspec.json.format(msgspec.json.encode(event), indent=2).decode()
    parts.append(Card("All fields", [Snippet(text, title="The event", language="JSON")]))
    return Page(title=summary_of(event)[:120], subtitle=f"Event {event['id']}", parts=parts)


def facts_of(visit: Visit, event: Mapping[str, Any]) -> list[tuple[str, Cell]]:
    """What is known, in words."""
    items: list[tuple[str, Cell]] = [
        ("Time", Time(event["created_at"], form="exact")),
        ("Level", level_badge(event["level"])),
        ("Kind", event["kind"].replace("_", " ")),
        ("Summary", summary_of(event)),
        ("Error code", Code(event["error_code"]) if event["error_code"] else None),
        ("Status", plain(event["http_status"])),
        ("Vendor's status", plain(event["upstream_status"])),
        ("Function", plain(event["function_name"])),
        ("Request", request_cell(event)),
        ("App", plain(" ".join(part for part in (event["app_id"], event["build_id"]) if part))),
        ("Customer", customer_cell(visit, event)),
        ("Key", key_cell(visit, event)),
        ("Provider/Model", plain("/".join(part for part in (event["provider"], event["model"]) if part))),
        ("Deployment", plain(event["deployment"])),
        ("Duration", None if event["duration_ms"] is None else Number(event["duration_ms"], unit="ms")),
        ("Sent and received", sizes(event)),
        ("User agent", plain(event["user_agent"])),
    ]
    return [(name, cell) for name, cell in items if cell is not None]


def request_cell(event: Mapping[str, Any]) -> Cell:
    """The request's id."""
    return Code(event["request_id"], copy=True) if event["request_id"] else None


def customer_cell(visit: Visit, event: Mapping[str, Any]) -> Cell:
    """The customer, with the way to its usage."""
    customer_id = event["customer_id"]
    if customer_id is None:
        return None
    return Link(f"Customer {customer_id}", visit.url(TABS["usage"].path, customer_id=customer_id))


def key_cell(visit: Visit, event: Mapping[str, Any]) -> Cell:
    """The key, with the way to it."""
    if event["key_id"] is None:
        return None
    if event["customer_id"] is None:
        return f"Key {event['key_id']}"
    href = visit.url(KEY, customer_id=event["customer_id"], key_id=event["key_id"])
    return Link(f"Key {event['key_id']}", href)


def sizes(event: Mapping[str, Any]) -> Cell:
    """How large the request and the reply were."""
    if event["request_bytes"] is None and event["response_bytes"] is None:
        return None
    return f"{event['request_bytes'] or 0:,} bytes, {event['response_bytes'] or 0:,} bytes"


def links_of(visit: Visit, event: Mapping[str, Any]) -> list[Link]:
    """The call of this request, and the Monitor with each value as its filter."""
    links = []
    if event["request_id"] and event["customer_id"] is not None:
        links.append(Link("The call of this request", visit.url(CALL, event=event["request_id"]), icon="receipt"))
    for name, field, title in SAME:
        if event[field] not in (None, ""):
            text = f"{title} {str(event[field])[:60]}"
            links.append(Link(text, visit.url(TAB.path, **{name: event[field]}), icon="filter"))
    return links
