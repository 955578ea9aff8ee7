"""The page of one invoice: a month's draft as it is now, or what was issued, with its PDF and its proof."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from kaixu.accounts.operator_identity import MONEY
from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.web.api_calls import QueryValue
from kaixu.web.components import (
    Button,
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
    Number,
    Page,
    Part,
    Prose,
    Row,
    Snippet,
    Stat,
    Stats,
    Table,
    Time,
)
from kaixu.web.formats import usd_of_cents
from kaixu.web.navigation import TABS
from kaixu.web.site import Site
from kaixu.web.twins import curl_of, twins_of
from kaixu.web.visits import Visit

from .billing_invoices import INVOICE, KINDS, status_badge

DRAFT = "/gateway/billing/draft"
FINALIZE = "/gateway/billing/finalize"
CREDIT = "/gateway/billing/credit"
VOID = "/gateway/billing/void"
MAIL = "/gateway/billing/mail"

#: What was done, by the word in the address.
DONE = {
    "draft": "The draft is recorded, as it is now. It takes no number and can be renewed.",
    "issued": "The invoice is issued. From now on it cannot be changed.",
    "already": "The month had been issued before; nothing was changed.",
    "void": "The invoice is void. It keeps its number; the month can be issued again.",
    "credit": "The credit note is issued.",
    "mailed": "The invoice is on its way: it is in the outbox.",
}
WAITS = {
    "open": "The month is not over: these are its figures so far.",
    "waiting": "The month is over, but it waits for calls.",
    "ready": "The month is closed: its invoice can be issued.",
}


def invoice_pages(site: Site) -> list[Route]:
    """The routes of the page, its PDF, and the recording of a draft."""
    tab = TABS["billing"]
    return [
        *site.operator_page(INVOICE, invoice, tab=tab, twin=lambda visit: ("admin-invoices", query_of(visit))),
        *site.operator_page(f"{INVOICE}.pdf", pdf, tab=tab),
        *site.operator_page(DRAFT, draft, tab=tab, access=MONEY, posts=True),
    ]


def query_of(visit: Visit) -> dict[str, QueryValue]:
    """Which invoice: by its number, or by customer and month."""
    if visit.query.get("number"):
        return {"number": visit.query["number"]}
    return {"customer_id": visit.query.get("customer_id"), "month": visit.query.get("month")}


async def pdf(visit: Visit) -> Page | Reply:
    """The PDF as it was issued."""
    return await visit.api.reply("GET", "admin-invoice-pdf", query={"number": visit.query.get("number")})


async def draft(visit: Visit) -> Page | Reply:
    """Record that a draft was made."""
    customer_id, month = visit.form.get("customer_id"), visit.form.get("month")
    if not visit.is_post:
        return visit.redirect(TABS["billing"].path, customer_id=visit.customer_id)
    await visit.api.send("POST", "admin-invoices", {"customer_id": customer_id, "month": month})
    return visit.redirect(INVOICE, customer_id=customer_id, month=month, done="draft")


async def invoice(visit: Visit) -> Page | Reply:
    """The page."""
    query = query_of(visit)
    reply = await visit.api.get("admin-invoices", **query)
    snapshot, number = reply["snapshot"], reply["number"]
    kind = KINDS.get(snapshot["kind"], snapshot["kind"])
    parts: list[Part] = []
    if text := DONE.get(visit.query.get("done", "")):
        parts.append(Notice("good", text))
    parts += state_parts(reply)
    if visit.query.get("verify") and number:
        parts.append(proof(await visit.api.get("admin-invoice-verify", number=number)))
    parts += [
        amounts(snapshot),
        lines_card(visit, snapshot, reply["customer_id"]),
        Card("Keys", [keys_table(snapshot)], width=7),
        Card("Top-ups", [payments_table(snapshot)], width=5),
        parties(snapshot),
    ]
    raw = msgspec.json.format(msgspec.json.encode(snapshot), indent=2).decode()
    parts.append(Card("Snapshot as JSON", [Snippet(raw, "json", hashes(reply))], open=False))
    title = f"{kind[:1].upper()}{kind[1:]} {number}" if number else f"Invoice of {reply['month']}"
    return Page(
        title=title,
        subtitle=f"{snapshot['customer']['email']} · {reply['month']}",
        parts=parts,
        actions=actions_of(visit, reply),
        twins=twins_of(visit)[1:],
        curl=curl_of(visit, "admin-invoices", query),
    )


def state_parts(reply: Mapping[str, Any]) -> list[Part]:
    """The state, and what the month waits for."""
    close = reply["close"]
    items: list[tuple[str, Cell]] = [("State", status_badge(reply["status"]))]
    snapshot = reply["snapshot"]
    if reply["number"]:
        items += [
            ("Issued", Time(reply["created_at"])),
            ("Due", snapshot["due_date"] or Muted("no date")),
            ("Series and number", Code(reply["number"], copy=True)),
        ]
        if snapshot["kind"] == "credit_note":
            items += [("Credits", snapshot["credited_number"]), ("Reason", snapshot["reason"])]
        return [Card("State", [Facts(items)])]
    items.append(("Draft recorded", Time(reply["updated_at"], none="never")))
    if close["open_calls"] or close["lost_calls"]:
        text = f"{close['open_calls']} running, {close['lost_calls']} that may be settled late"
        items.append(("Waits for calls", text))
    return [Notice("info", WAITS.get(close["state"], close["state"])), Card("State", [Facts(items)])]


def actions_of(visit: Visit, reply: Mapping[str, Any]) -> list[Link | Button]:
    """What can be done with it, by those who may."""
    customer_id, month, number = reply["customer_id"], reply["month"], reply["number"]
    found: list[Link | Button] = []
    if number:
        found.append(Link("PDF", visit.url(f"{INVOICE}.pdf", number=number), icon="download", download=True))
        found.append(Link("Verify", visit.url(INVOICE, number=number, customer_id=customer_id, verify=1)))
    if not visit.may(MONEY):
        return found
    if number is None:
        found.append(Button("Record a draft", DRAFT, {"customer_id": str(customer_id), "month": month}))
        if reply["status"] == "ready":
            found.append(Link("Finalise …", visit.url(FINALIZE, customer_id=customer_id, month=month)))
        return found
    found.append(Link("Send by mail …", visit.url(MAIL, number=number, customer_id=customer_id)))
    if reply["snapshot"]["kind"] == "invoice" and reply["status"] == "final":
        found.append(Link("Credit note …", visit.url(CREDIT, number=number, customer_id=customer_id)))
        found.append(Link("Void …", visit.url(VOID, number=number, customer_id=customer_id)))
    return found


def proof(result: Mapping[str, Any]) -> Notice:
    """What the verification found."""
    if result["ok"] and not result.get("changed"):
        return Notice("good", "Verified: snapshot, PDF, totals and the month's events are as they were issued.")
    if result["ok"]:
        text = "Verified: the invoice is as it was issued. Usage of its month has changed since."
        return Notice("warn", text, "The next invoice has a correction line for it.")
    return Notice("bad", "The invoice is not as it was issued.", "; ".join(map(str, result["wrong"])))


def amounts(snapshot: Mapping[str, Any]) -> Stats:
    """Net, tax, total, prepaid, due."""
    money = snapshot["amounts"]
    tax = snapshot["taxes"][0] if snapshot.get("taxes") else None
    rate = f"{tax['name'] or 'tax'} {tax['rate']}" if tax else ""
    note = f", {tax['note']}" if tax and tax["note"] else ""
    stats = [
        Stat("Net", Money(usd_of_cents(money["net_cents"])), note=f"exactly ${money['net_usd']}"),
        Stat("Tax", Money(usd_of_cents(money["tax_cents"])), note=f"{rate}{note}"),
        Stat("Total", Money(usd_of_cents(money["total_cents"])), note=snapshot["currency"]),
    ]
    if "prepaid_applied_cents" in money:
        stats += [
            Stat("Prepaid", Money(usd_of_cents(money["prepaid_applied_cents"])), note="top-ups, up to the total"),
            Stat("Due", Money(usd_of_cents(money["due_cents"]))),
        ]
    return Stats(stats)


def lines_card(visit: Visit, snapshot: Mapping[str, Any], customer_id: int) -> Card:
    """The lines, exact and in cents that add up."""
    rows = [
        Row(
            href=visit.url(TABS["usage"].path, customer_id=customer_id, month=one["month"], provider=one["provider"],
                           model=one["model"]),
            drawer=False,
            cells=[str(one["line"]), kind_cell(one, snapshot["month"]),
                   f"{one['provider']}/{one['model']}", one["book"], Number(one.get("calls")),
                   tokens_cell(one), Money(one.get("amount_usd"), digits=4),
                   Money(usd_of_cents(one["amount_cents"]))],
        )
        for one in snapshot["lines"]
    ]  # fmt: skip
    table = Table(
        id="invoice-lines",
        caption="Lines",
        columns=[
            Column(title="Line"),
            Column(title="Kind", phone=False),
            Column(title="Model", wide=True),
            Column(title="Book", phone=False),
            Column(title="Calls", align="right", phone=False),
            Column(title="Tokens", align="right", phone=False),
            Column(title="Exact", align="right", hint="Exact on hover"),
            Column(title="Amount", align="right", hint="Cents that add up to the net"),
        ],
        rows=rows,
        empty=Empty(text="Nothing was used in this month: there is nothing to bill."),
    )
    return Card("Lines", [table])


def kind_cell(line: Mapping[str, Any], month: str) -> Cell:
    """What a line is; a correction names the month that it corrects."""
    kind = line.get("kind", "line")
    return kind if line["month"] == month else f"{kind} of {line['month']}"


def tokens_cell(line: Mapping[str, Any]) -> Cell:
    """The tokens of a line; corrections and credits have none."""
    if "input_tokens" not in line:
        return Muted("–")
    return Number(line["input_tokens"] + line["output_tokens"])


def keys_table(snapshot: Mapping[str, Any]) -> Table:
    """The month by key."""
    rows = [
        Row(cells=[f"{one['label']} …{one['key_last4']}", Money(one["spent_usd"]), Number(one["calls"]),
                   Number(one["input_tokens"] + one["output_tokens"])])
        for one in snapshot.get("keys", [])
    ]  # fmt: skip
    columns = [
        Column(title="Key", wide=True),
        Column(title="Spent", align="right"),
        Column(title="Calls", align="right"),
        Column(title="Tokens", align="right", phone=False),
    ]
    return Table(id="invoice-keys", caption="By key", columns=columns, rows=rows, empty=Empty(text="No keys."))


def payments_table(snapshot: Mapping[str, Any]) -> Table:
    """The month's top-ups, as payments."""
    rows = [
        Row(cells=[Time(one["created_at"], form="date"), Money(usd_of_cents(one["amount_cents"])), one["source"],
                   one["status"]])
        for one in snapshot.get("topups", [])
    ]  # fmt: skip
    columns = [Column(title="Booked"), Column(title="Amount", align="right"), Column(title="By", wide=True),
               Column(title="State")]  # fmt: skip
    return Table(id="invoice-topups", caption="Payments", columns=columns, rows=rows,
                 empty=Empty(text="No top-ups in this month."))  # fmt: skip


def parties(snapshot: Mapping[str, Any]) -> Card:
    """Who bills whom."""
    seller, buyer = snapshot.get("seller"), snapshot["customer"].get("billing") or {}
    parts: list[Part] = []
    if seller is None:
        parts.append(Notice("warn", "kaixu.yaml does not say who issues the invoices: only drafts are possible.",
                            "Add invoices.seller."))  # fmt: skip
    items: list[tuple[str, Cell]] = [("Seller", party(seller or {})), ("Customer", party(buyer))]
    second = snapshot.get("second_currency")
    if second:
        text = f"{second['currency']} {second['total']} (rate {second['rate']} of {second['date']}, {second['source']})"
        items.append(("In a second currency", text))
    parts.append(Facts(items))
    if snapshot.get("footer"):
        parts.append(Prose(paragraphs=[snapshot["footer"]]))
    return Card("Parties", parts)


def party(one: Mapping[str, Any]) -> Cell:
    """A name with its address and tax id."""
    lines = [one.get("name"), *(one.get("address") or []), one.get("country"), one.get("tax_id")]
    return ", ".join(line for line in lines if line) or Muted("not set")


def hashes(reply: Mapping[str, Any]) -> str:
    """The hash of an issued snapshot."""
    return f"SHA-256 {reply['sha256']}" if reply["sha256"] else "As it is now"
