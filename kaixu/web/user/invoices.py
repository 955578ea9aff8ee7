"""The dashboard's exports and invoices: three files of usage, the month's invoice, and the list of all."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any, NamedTuple

from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.web.addresses import gateway_url
from kaixu.web.api_calls import QueryValue, query_text
from kaixu.web.components import (
    Badge,
    Card,
    Column,
    Empty,
    Form,
    Link,
    Money,
    Number,
    Page,
    Part,
    Prose,
    Row,
    Snippet,
    Stat,
    State,
    Stats,
    Table,
    Time,
)
from kaixu.web.formats import usd_of_cents
from kaixu.web.lists import pages_of
from kaixu.web.months import chosen_month, month_field, month_title
from kaixu.web.navigation import TABS
from kaixu.web.site import Site
from kaixu.web.twins import curl_of, twins_of
from kaixu.web.visits import Visit

from .scope import scope_fields, scope_of, sees_account

TAB = TABS["own-invoices"]
EXPORT = "/gateway/dashboard/export"
PDF = "/gateway/dashboard/invoice.pdf"
EXPORT_FIELDS = ("type", "month", "scope", "format", "limit")
LIMIT = 24
STATES: dict[str, State] = {"final": "good", "void": "off", "draft": "info", "ready": "info"}


class ExportKind(NamedTuple):
    """One of the files."""

    name: str
    title: str
    text: str


KINDS = (
    ExportKind("events", "Events CSV", "Every call of the month with its time, key, model, tokens and cost."),
    ExportKind("summary", "Summary CSV", "The month in one line for each key: spent, tokens, calls."),
    ExportKind("invoice", "Invoice CSV", "The month's total and a line for each key, for your bookkeeping."),
)


def own_invoice_pages(site: Site) -> list[Route]:
    """The routes of the tab and of its downloads: only pages know the session's cookie."""
    return [
        *site.customer_page(TAB.path, invoices, tab=TAB, twin=month_of),
        *site.customer_page(EXPORT, export, tab=TAB),
        *site.customer_page(PDF, pdf, tab=TAB),
    ]


def month_of(visit: Visit) -> tuple[str, Mapping[str, QueryValue]]:
    """The endpoint of the month's invoice."""
    return "user-invoices", {"month": visit.query.get("month")}


async def export(visit: Visit) -> Page | Reply:
    """A file of usage, as it comes."""
    return await visit.api.reply("GET", "user-export", query={name: visit.query.get(name) for name in EXPORT_FIELDS})


async def pdf(visit: Visit) -> Page | Reply:
    """An invoice's PDF as it was issued."""
    query = {name: visit.query.get(name) for name in ("month", "number")}
    return await visit.api.reply("GET", "user-invoice-pdf", query=query)


async def invoices(visit: Visit) -> Page | Reply:
    """The page."""
    name, query = month_of(visit)
    invoice = await visit.api.get(name, **query)
    month = chosen_month(visit)
    fields = [month_field(month), *scope_fields(visit)]
    parts: list[Part] = [Form(action=TAB.path, method="get", inline=True, submit="Show", fields=fields)]
    parts += [export_card(visit, kind, month) for kind in KINDS]
    parts.append(invoice_card(visit, invoice))
    if sees_account(visit):
        parts.append(await list_table(visit))
    parts.append(Card("For scripts", script_parts(visit, month), open=False))
    return Page(
        title=TAB.title,
        subtitle=month_title(month),
        parts=parts,
        twins=twins_of(visit),
        curl=curl_of(visit, name, query),
    )


def export_card(visit: Visit, kind: ExportKind, month: str) -> Card:
    """One file: what is in it, and its links."""
    href = visit.url(EXPORT, type=kind.name, month=month, scope=scope_of(visit), limit="all")
    links = [
        Link(f"Download {kind.title}", href, icon="download", download=True),
        Link("As lines of JSON", f"{href}&format=ndjson", download=True),
    ]
    return Card(kind.title, [Prose(paragraphs=[kind.text], links=links)], width=4)


def invoice_card(visit: Visit, invoice: Mapping[str, Any]) -> Card:
    """The month's invoice as issued, or as it is now."""
    snapshot, status = invoice["snapshot"], invoice["status"]
    lines = snapshot.get("lines") or []
    parts: list[Part] = [amounts(snapshot)]
    if lines:
        parts.append(lines_table(lines))
    links = []
    if invoice["number"]:
        title = f"Invoice {invoice['number']}"
        links.append(Link("PDF", visit.url(PDF, number=invoice["number"]), icon="file-text", download=True))
        told = "It was issued and does not change any more; what is corrected later is a credit note or a new line."
    else:
        title = f"Invoice of {month_title(invoice['month'])}: draft"
        told = "This is what the month's invoice would say now. It gets its number when your operator issues it."
    if not sees_account(visit):
        told = (
            "These are the figures of your key. Keys with the role admin or owner see the invoice of the whole account."
        )
    return Card(
        title,
        [*parts, Prose(paragraphs=[told])],
        subtitle=f"status: {status}" if invoice["number"] else "",
        links=links,
        id="invoice",
    )


def amounts(snapshot: Mapping[str, Any]) -> Stats:
    """Net, tax, total and what is due; for keys that see only their own figures, these."""
    given = snapshot.get("amounts")
    if not given:
        totals = snapshot["totals"]
        return Stats([Stat("Spent", cents(totals["grand_total_cents"])), Stat("Calls", Number(totals.get("calls")))])
    return Stats(
        [
            Stat("Net", cents(given["net_cents"]), note=f"exact: {given['net_usd']} USD"),
            Stat("Tax", cents(given["tax_cents"])),
            Stat("Total", cents(given["total_cents"])),
            Stat("Prepaid applied", cents(given["prepaid_applied_cents"]), note="top-ups count here"),
            Stat("Due", cents(given["due_cents"])),
        ]
    )


def cents(value: int) -> Money:
    """Cents as an amount, also below zero."""
    return Money(usd_of_cents(value))


def lines_table(lines: list[Mapping[str, Any]]) -> Table:
    """The lines of an invoice."""
    return Table(
        id="lines",
        caption="Lines",
        columns=[
            Column(title="Line", align="right"),
            Column(title="What", wide=True),
            Column(title="Calls", align="right"),
            Column(title="Input", align="right", phone=False),
            Column(title="Output", align="right", phone=False),
            Column(title="Amount", align="right", hint="Exact on hover"),
        ],
        rows=[
            Row(
                cells=[
                    Number(one["line"]),
                    f"{one['provider']}/{one['model']}" if one.get("model") else one["kind"].replace("_", " "),
                    Number(one.get("calls")),
                    Number(one.get("input_tokens")),
                    Number(one.get("output_tokens")),
                    Money(one["amount_usd"]),
                ]
            )
            for one in lines
        ],
    )


async def list_table(visit: Visit) -> Table:
    """All issued invoices and credit notes of the account."""
    reply = await visit.api.get("user-invoice-list", limit=LIMIT, before_id=visit.query.get("before_id"))
    next_href, first_href = pages_of(visit, reply["next_before_id"], "before_id")
    return Table(
        id="invoices",
        caption="Issued invoices and credit notes",
        columns=[
            Column(title="Number"),
            Column(title="Kind"),
            Column(title="Month"),
            Column(title="Status"),
            Column(title="Total", align="right"),
            Column(title="Issued", phone=False),
            Column(title="PDF"),
        ],
        rows=[
            Row(
                id=f"invoice-{one['id']}",
                cells=[
                    one["number"],
                    one["kind"].replace("_", " "),
                    Link(month_title(one["month"]), visit.url(TAB.path, month=one["month"])),
                    Badge(STATES.get(one["status"], "info"), one["status"], one["void_reason"] or ""),
                    cents(one["total_cents"]),
                    Time(one["issued_at"], form="date"),
                    Link("PDF", visit.url(PDF, number=one["number"]), icon="file-text", download=True),
                ],
                state="off" if one["status"] == "void" else None,
            )
            for one in reply["invoices"]
        ],
        next_href=next_href,
        first_href=first_href,
        empty=Empty(text="No invoice was issued yet: your operator issues one when a month is closed."),
    )


def script_parts(visit: Visit, month: str) -> list[Part]:
    """The command for a script."""
    query = query_text({"type": "events", "month": month, "scope": scope_of(visit), "limit": "all"})
    url = f"{gateway_url(visit)}/api/user-export?{query}"
    command = f'curl -s {shlex.quote(url)} -H "authorization: Bearer $KAIXU_KEY" -o events.csv'
    told = (
        "The last line of a file says whether it is whole: “# rows: 1234”; a file that broke off ends in “-partial”. "
        "cost_cents is rounded in each row; for sums use cost_usd, which is exact."
    )
    return [Snippet(command, "sh", "Export"), Prose(tip=True, paragraphs=[told])]
