"""The issued invoices and credit notes of all customers, or of the selected one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kaixu.web.api_calls import QueryValue
from kaixu.web.components import (
    Badge,
    Card,
    Column,
    Empty,
    Field,
    Form,
    Link,
    Money,
    Option,
    Part,
    Row,
    State,
    Table,
    Time,
)
from kaixu.web.formats import usd_of_cents
from kaixu.web.lists import pages_of
from kaixu.web.navigation import TABS
from kaixu.web.visits import Visit

from .billing import CLOSE
from .billing_invoices import INVOICE

LIMIT = 50
#: The filters of the list that are not those of the exports.
INVOICE_FILTERS = ("status", "kind")
STATUSES = (Option("", "all"), Option("final", "final"), Option("void", "void"))
KINDS = (Option("", "all"), Option("invoice", "invoices"), Option("credit_note", "credit notes"))
STATES: dict[str, State] = {"final": "good", "void": "off"}


def invoice_query(visit: Visit) -> tuple[str, Mapping[str, QueryValue]]:
    """The endpoint of the list, with the filters of the page."""
    names = ("customer_id", "month", *INVOICE_FILTERS)
    filters = {name: visit.query.get(name) for name in names}
    return "admin-invoice-list", {"limit": LIMIT, **filters, "before_id": visit.query.get("cursor")}


async def invoices_part(visit: Visit) -> list[Part]:
    """The list, with its filters."""
    name, query = invoice_query(visit)
    reply = await visit.api.get(name, **query)
    next_href, first_href = pages_of(visit, reply["next_before_id"])
    table = Table(
        id="invoices",
        caption="Issued invoices and credit notes",
        columns=[
            Column(title="Number"),
            Column(title="Kind"),
            Column(title="Status"),
            Column(title="Customer", align="right"),
            Column(title="Month"),
            Column(title="Net", align="right"),
            Column(title="Tax", align="right"),
            Column(title="Total", align="right"),
            Column(title="Issued"),
            Column(title="PDF"),
        ],
        rows=[invoice_row(visit, one) for one in reply["invoices"]],
        next_href=next_href,
        first_href=first_href,
        empty=empty_of(visit),
    )
    return [Card("Invoices", [filter_form(visit), table], id="invoice-list")]


def invoice_row(visit: Visit, one: Mapping[str, Any]) -> Row:
    """An invoice, with the ways to its PDF and to the customer's billing; a click opens it."""
    return Row(
        id=f"invoice-{one['id']}",
        href=visit.url(INVOICE, number=one["number"], customer_id=one["customer_id"]),
        cells=[
            one["number"],
            one["kind"].replace("_", " "),
            Badge(STATES.get(one["status"], "info"), one["status"], one["void_reason"] or ""),
            Link(str(one["customer_id"]), visit.url(TABS["billing"].path, customer_id=one["customer_id"])),
            one["month"],
            Money(usd_of_cents(one["net_cents"])),
            Money(usd_of_cents(one["tax_cents"])),
            Money(usd_of_cents(one["total_cents"])),
            Time(one["issued_at"], form="date"),
            Link("PDF", visit.url("/api/admin-invoice-pdf", number=one["number"]), icon="file-text", download=True),
        ],
        state="off" if one["status"] == "void" else None,
    )


def empty_of(visit: Visit) -> Empty:
    """Why there is no invoice."""
    if any(visit.query.get(name) for name in ("customer_id", "month", *INVOICE_FILTERS)):
        return Empty(text="No invoice fits these filters.", link=Link("Show all", TABS["exports"].path))
    return Empty(
        text="No invoice was issued yet. One is made when a customer's month is closed.",
        link=Link("Month close", CLOSE),
    )


def filter_form(visit: Visit) -> Form:
    """Status and kind; customer and month are those above."""
    kept = {name: text for name, text in visit.query.items() if name not in (*INVOICE_FILTERS, "cursor")}
    return Form(
        action=TABS["exports"].path,
        method="get",
        inline=True,
        target="invoices",
        submit="Filter",
        fields=[
            Field(name="status", label="Status", type="select", value=visit.query.get("status", ""), options=STATUSES),
            Field(name="kind", label="Kind", type="select", value=visit.query.get("kind", ""), options=KINDS),
        ],
        hidden=kept,
        id="invoice-filter",
    )
