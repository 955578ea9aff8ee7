"""One change of the timeline: who made it, from where, and each field before and after."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.plugin.errors import NotFound, Unprocessable
from kaixu.web.components import Card, Cell, Code, Column, Facts, Link, Page, Part, Prose, Row, Snippet, Table, Time
from kaixu.web.site import Site
from kaixu.web.visits import Visit

from .change_targets import target_link
from .event_words import plain
from .timeline import ENTRY, TAB


def timeline_entry_pages(site: Site) -> list[Route]:
    """The route of one change."""
    return site.operator_page(ENTRY, entry_page, tab=TAB)


async def entry_page(visit: Visit) -> Page | Reply:
    """The change with the id of the address."""
    number = visit.query.get("id", "")
    if not number.isascii() or not number.isdigit() or len(number) > 18:
        raise Unprocessable("`id` must be the number of an entry", field="id")
    found = (await visit.api.get("admin-audit", cursor=int(number) + 1, limit=1))["entries"]
    if not found or found[0]["id"] != int(number):
        raise NotFound("there is no such entry in the audit log")
    entry = found[0]
    title = entry["action"].replace("_", " ").replace(".", " ").capitalize()
    parts: list[Part] = [Card("Change", [Facts(facts_of(visit, entry))])]
    if entry["changes"]:
        parts.append(Card("Before and after", [changes_table(entry["changes"])]))
    parts.append(Card("More like this", [Prose(paragraphs=[], links=links_of(visit, entry))]))
    text = msgspec.json.format(msgspec.json.encode(entry), indent=2).decode()
    parts.append(Card("All fields", [Snippet(text, title="The entry", language="JSON")]))
    return Page(title=title, subtitle=f"Entry {entry['id']} of the audit log", parts=parts)


def facts_of(visit: Visit, entry: Mapping[str, Any]) -> list[tuple[str, Cell]]:
    """Who, when, what, from where."""
    place = target_link(visit, entry)
    items: list[tuple[str, Cell]] = [
        ("Time", Time(entry["created_at"], form="exact")),
        ("Actor", plain(entry["actor"])),
        ("Action", Code(entry["action"])),
        ("Target", place if place is not None else plain(entry["target"])),
        ("Address", plain(entry["address"])),
        ("Request", Code(entry["request_id"], copy=True) if entry["request_id"] else None),
    ]
    items += [
        (name.replace("_", " ").capitalize(), plain(shown(value)))
        for name, value in entry["meta"].items()
        if name != "ip_hash"  # the address says more
    ]
    return [(name, cell) for name, cell in items if cell is not None]


def changes_table(changes: Mapping[str, Any]) -> Table:
    """The fields that differ."""
    return Table(
        id="changes",
        caption="Changed fields",
        columns=[Column(title="Field"), Column(title="Before"), Column(title="After")],
        rows=[
            Row(cells=[Code(name), shown(before) or "–", shown(after) or "–"])
            for name, (before, after) in changes.items()
        ],
    )


def shown(value: object) -> str:
    """A value of a change as text."""
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def links_of(visit: Visit, entry: Mapping[str, Any]) -> list[Link]:
    """The timeline with each value as its filter."""
    values = {
        "actor": ("Actor", entry["actor"]),
        "action": ("Action", entry["action"]),
        "target": ("Target", entry["target"]),
        "customer_id": ("Customer", entry["customer_id"]),
        "request_id": ("Request", entry["request_id"]),
    }
    return [
        Link(f"{title} {value}", visit.url(TAB.path, **{name: value}), icon="filter")
        for name, (title, value) in values.items()
        if value not in (None, "")
    ]
