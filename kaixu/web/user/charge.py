"""The page of one call of a customer: how its cost came about, line by line, and where it is on the invoice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.web.call_cells import end_badge, units_text
from kaixu.web.charge_parts import HOW_IT_ADDS_UP, charge_table
from kaixu.web.components import (
    Badge,
    Card,
    Cell,
    Code,
    Facts,
    Link,
    Money,
    Muted,
    Number,
    Page,
    Part,
    Prose,
    Snippet,
    Stack,
    Stat,
    Stats,
    Time,
)
from kaixu.web.navigation import TABS
from kaixu.web.site import Site
from kaixu.web.twins import curl_of, twins_of
from kaixu.web.visits import Visit

CALL = "/gateway/dashboard/call"


def charge_pages(site: Site) -> list[Route]:
    """The route of the page."""
    return site.customer_page(
        CALL, call, tab=TABS["calls"], twin=lambda visit: ("user-explain", {"event": visit.query.get("event")})
    )


async def call(visit: Visit) -> Page | Reply:
    """The page: `event` is an event's id, a ticket or a request id."""
    event = visit.query.get("event")
    charges = (await visit.api.get("user-explain", event=event))["charges"]
    parts: list[Part] = []
    for charge in charges:
        parts += [stats_of(charge), charge_card(charge), about_card(charge)]
    raw = msgspec.json.format(msgspec.json.encode(charges), indent=2).decode()
    parts.append(Card("As JSON", [Snippet(raw, "json", "The reply of user-explain")], open=False))
    parts.append(Link("All calls", TABS["calls"].path))
    one = charges[0]
    return Page(
        title=f"Call {one['event_id']}" if len(charges) == 1 else f"Request {one['request_id'][:40]}",
        subtitle=f"{one['provider']}/{one['model']}",
        parts=parts,
        twins=twins_of(visit),
        curl=curl_of(visit, "user-explain", {"event": event}),
    )


def stats_of(charge: Mapping[str, Any]) -> Stats:
    """What it cost, and how many tokens or units it was."""
    tokens = sum(line["count"] for line in charge["lines"])
    stats = [
        Stat("Billed", Money(charge["billed_usd"]), note=f"{charge['billed_nusd']:,} nano-dollars"),
        Stat("Counted", units_text(charge["units"]) or Number(tokens, "tokens"), note=charge["usage_from"]),
    ]
    return Stats(stats)


def charge_card(charge: Mapping[str, Any]) -> Card:
    """Tokens × rate, their exact sum, and the bill."""
    check = Badge("good", "adds up") if charge["adds_up"] else Badge("warn", "does not add up")
    facts: list[tuple[str, Cell]] = [
        ("Check", Stack([check, Muted(charge["note"])]) if charge["note"] else check),
        ("Price since", Time(charge["price"]["since"], form="date")),
        ("Invoice", invoice_text(charge["invoice"])),
    ]
    if charge["unbilled_nusd"]:
        facts.append(("Not billed to you", Money(charge["unbilled_usd"])))
    about = Prose(tip=True, paragraphs=[HOW_IT_ADDS_UP])
    return Card("Explain this charge", [charge_table(charge), Facts(facts), about])


def invoice_text(invoice: Mapping[str, Any]) -> str:
    """The line of the invoice, or the month whose invoice it will be on."""
    if invoice["number"]:
        return f"{invoice['number']}, line {invoice['line']}"
    return f"not yet issued; it will be on that of {invoice['month']}, {invoice['provider']}/{invoice['model']}"


def about_card(charge: Mapping[str, Any]) -> Card:
    """What is known of the call."""
    items: list[tuple[str, Cell]] = [
        ("Operation", f"{charge['operation']} {charge['provider']}/{charge['model']}"),
        ("How it ended", end_badge(charge["end"])),
        ("Admitted", Time(charge["admitted_at"])),
        ("Key", f"key {charge['api_key_id']}"),
        ("Request id", Code(charge["request_id"], copy=True)),
        ("Ticket", Code(charge["ticket"], copy=True)),
    ]
    return Card("About the call", [Facts(items)])
