"""The page of one call: its life, how its cost came about, and the invoice that it is on."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.web.api_calls import ApiFailure
from kaixu.web.call_cells import end_badge, seconds, units_text
from kaixu.web.charge_parts import HOW_IT_ADDS_UP, charge_table
from kaixu.web.components import (
    Badge,
    Card,
    Cell,
    Code,
    Column,
    Empty,
    Facts,
    Link,
    Money,
    Muted,
    Notice,
    Page,
    Part,
    Prose,
    Row,
    Snippet,
    Stack,
    Stat,
    Stats,
    Table,
    Time,
)
from kaixu.web.navigation import TABS
from kaixu.web.site import Site
from kaixu.web.twins import curl_of, twins_of
from kaixu.web.visits import Visit

from .billing_invoices import INVOICE
from .usage_calls import CALL


def call_pages(site: Site) -> list[Route]:
    """The route of the page."""
    return site.operator_page(
        CALL, call, tab=TABS["usage"], twin=lambda visit: ("admin-explain", {"event": visit.query.get("event")})
    )


async def call(visit: Visit) -> Page | Reply:
    """The page: `event` is an event's id, a ticket or a request id."""
    event = visit.query.get("event")
    charges: list[Mapping[str, Any]] = []
    missing: ApiFailure | None = None
    try:
        charges = (await visit.api.get("admin-explain", event=event))["charges"]
    except ApiFailure as failure:
        if failure.status != 404:
            raise
        missing = failure  # a refused call has no event, but the monitor knows it
    try:
        life = await visit.api.get("admin-trace", event=event)
    except ApiFailure as failure:
        if failure.status != 404 or missing is not None:
            raise
        life = {"request_id": charges[0]["request_id"], "steps": []}
    request_id = life["request_id"]
    parts: list[Part] = []
    if missing is not None:
        text = "This request was not billed: it was refused, failed before a vendor did anything, or is still running."
        parts.append(Notice("info", text, "Its steps say what happened."))
    for charge in charges:
        parts += [call_stats(charge), charge_card(visit, charge), about_card(visit, charge)]
    parts.append(life_card(visit, request_id, life["steps"]))
    if charges:
        raw = msgspec.json.format(msgspec.json.encode(charges), indent=2).decode()
        parts.append(Card("As JSON", [Snippet(raw, "json", "The reply of admin-explain")], open=False))
    name = f"Call {charges[0]['event_id']}" if len(charges) == 1 else f"Request {request_id[:40]}"
    return Page(
        title=name,
        subtitle=f"{charges[0]['provider']}/{charges[0]['model']}" if len(charges) == 1 else "",
        parts=parts,
        twins=twins_of(visit),
        curl=curl_of(visit, "admin-explain", {"event": event}),
    )


def call_stats(charge: Mapping[str, Any]) -> Stats:
    """What it cost whom."""
    margin = charge["margin_usd"]
    loses = margin is not None and margin.startswith("-")
    return Stats(
        [
            Stat("Billed", Money(charge["billed_usd"]), note=f"{charge['billed_nusd']:,} nano-dollars"),
            Stat("Vendor cost", Money(charge["vendor_cost_usd"]),
                 note="not known" if charge["vendor_cost_usd"] is None else "what the vendor charges you"),
            Stat("Margin", Money(margin), note="billed less vendor cost", state="bad" if loses else None),
            Stat("Duration", seconds(charge["duration_ms"]), note=first_output(charge)),
        ]
    )  # fmt: skip


def first_output(charge: Mapping[str, Any]) -> str:
    """When the first output came."""
    course = charge["call"] or {}
    return f"first output after {course['first_ms']:,} ms" if "first_ms" in course else ""


def charge_card(visit: Visit, charge: Mapping[str, Any]) -> Card:
    """Tokens × rate, line by line, their exact sum, and the bill."""
    price = charge["price"]
    invoice = charge["invoice"]
    check = Badge("good", "adds up") if charge["adds_up"] else Badge("bad", "does not add up")
    facts: list[tuple[str, Cell]] = [
        ("Check", Stack([check, Muted(charge["note"])]) if charge["note"] else check),
        ("Price", Stack([f"version {price['id']}", Muted("since"), Time(price["since"], form="date")])),
        ("The figures", f"{charge['usage_from']} ({charge['usage_source']})"),
        ("Reserved", Money(usd_of(charge["granted_nusd"]))),
        ("Vendor cost", Money(charge["vendor_cost_usd"])),
        ("Margin", Money(charge["margin_usd"])),
        ("Invoice", invoice_cell(visit, charge["customer_id"], invoice)),
    ]
    if charge["unbilled_nusd"]:
        facts.insert(4, ("Not billed", Money(charge["unbilled_usd"])))
    about = Prose(tip=True, paragraphs=[HOW_IT_ADDS_UP])
    return Card("Explain this charge", [charge_table(charge), Facts(facts), about])


def usd_of(nusd: int | None) -> str | None:
    """Nano-dollars as dollars."""
    return None if nusd is None else f"{nusd // 10**9}.{nusd % 10**9:09d}"


def invoice_cell(visit: Visit, customer_id: int, invoice: Mapping[str, Any]) -> Cell:
    """The line of the invoice, or the draft that it will be on."""
    if invoice["number"]:
        text = f"{invoice['number']}, line {invoice['line']}"
        return Link(text, visit.url(INVOICE, number=invoice["number"], customer_id=customer_id))
    if invoice["book"] == "import":
        return Muted("billed by another gateway before the import")
    href = visit.url(INVOICE, month=invoice["month"], customer_id=customer_id)
    return Link(f"draft of {invoice['month']}, {invoice['provider']}/{invoice['model']}", href)


def about_card(visit: Visit, charge: Mapping[str, Any]) -> Card:
    """Who made the call, and what is known of it."""
    customer_id = charge["customer_id"]
    course = charge["call"] or {}
    usage = visit.url(TABS["usage"].path, customer_id=customer_id, api_key_id=charge["api_key_id"],
                      month=charge["invoice"]["month"])  # fmt: skip
    items: list[tuple[str, Cell]] = [
        ("Customer", Link(customer_name(visit, customer_id), visit.url(TABS["usage"].path, customer_id=customer_id))),
        ("Key", Link(f"key {charge['api_key_id']}", usage)),
        ("Operation", f"{charge['operation']} {charge['provider']}/{charge['model']}"),
        ("How it ended", end_badge(charge["end"])),
        ("Admitted", Time(charge["admitted_at"])),
        ("Settled", Time(charge["settled_at"])),
        ("App", charge["app_id"] or Muted("not named")),
        ("End user", charge["end_user"] or Muted("not named")),
        ("Device", charge["install_id"] or Muted("not named")),
        ("Deployment", course.get("deployment") or Muted("none")),
        ("Ticket", Code(charge["ticket"], copy=True)),
    ]
    if charge["units"]:
        items.insert(4, ("Counted", units_text(charge["units"])))
    return Card("About the call", [Facts(items)])


def customer_name(visit: Visit, customer_id: int) -> str:
    """The address of the customer that the page is about, or the number of another."""
    chosen = visit.customer
    return str(chosen["email"]) if chosen is not None and chosen["id"] == customer_id else f"customer {customer_id}"


def life_card(visit: Visit, request_id: str, steps: list[Mapping[str, Any]]) -> Card:
    """The steps of the request."""
    began = datetime.fromisoformat(steps[0]["at"]) if steps else None
    rows = []
    for step in steps:
        assert began is not None
        after_ms = round((datetime.fromisoformat(step["at"]) - began).total_seconds() * 1000)
        rows.append(Row(cells=[Time(step["at"], form="time"), f"+{after_ms:,} ms", step["what"], step["detail"]]))
    table = Table(
        id="call-life",
        caption="Steps",
        columns=[
            Column(title="Time"),
            Column(title="After", align="right"),
            Column(title="Step"),
            Column(title="Detail", wide=True),
        ],
        rows=rows,
        empty=Empty(text="The monitor keeps nothing of this request any more."),
    )
    monitor = visit.url(TABS["monitor"].path, request_id=request_id)
    facts = Facts([("Request id", Code(request_id, copy=True))])
    return Card("The call's life", [facts, table], links=[Link("In the monitor", monitor)])
