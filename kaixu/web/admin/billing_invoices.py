"""A customer's invoices on the tab: the draft of a month, and the list of what was issued."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kaixu.web.components import Badge, Card, Column, Empty, Form, Link, Money, Part, Prose, Row, State, Table, Time
from kaixu.web.formats import usd_of_cents
from kaixu.web.months import month_before, month_field
from kaixu.web.visits import Visit

INVOICE = "/gateway/billing/invoice"
LIMIT = 20

STATES: dict[str, tuple[State, str]] = {
    "draft": ("info", "draft"),
    "ready": ("warn", "ready to issue"),
    "final": ("good", "issued"),
    "void": ("off", "void"),
}
KINDS = {"invoice": "invoice", "credit_note": "credit note"}


def status_badge(status: str) -> Badge:
    """The state of an invoice."""
    state, words = STATES.get(status, ("info", status))
    return Badge(state, words)


async def invoice_card(visit: Visit, month: str) -> Card:
    """The way to a month's draft, and the list of issued invoices and credit notes."""
    reply = await visit.api.get("admin-invoice-list", customer_id=visit.customer_id, limit=LIMIT)
    before = month_before(month)
    choose = Form(
        action=INVOICE,
        method="get",
        inline=True,
        submit="Load the invoice",
        hidden={"customer_id": str(visit.customer_id)},
        fields=[month_field(before)],
    )
    table = invoice_table(visit, reply["invoices"], "invoices")
    links = [
        Link(f"Draft of {month}", visit.url(INVOICE, customer_id=visit.customer_id, month=month)),
        Link(f"{before}", visit.url(INVOICE, customer_id=visit.customer_id, month=before)),
    ]
    about = Prose(
        tip=True,
        paragraphs=[
            "A month can be looked at at any time; it is issued when it is over and no call of it runs. An issued "
            "invoice has a number and never changes: it is corrected by a credit note, or voided."
        ],
    )
    parts: list[Part] = [choose, table, about]
    return Card("Invoices", parts, width=12, links=links, id="invoices-card")


def invoice_table(
    visit: Visit, rows: list[Mapping[str, Any]], table_id: str, *, next_href: str = "", first_href: str = ""
) -> Table:
    """Issued invoices and credit notes."""
    return Table(
        id=table_id,
        caption="Issued invoices and credit notes",
        columns=[
            Column(title="Number", wide=True),
            Column(title="Kind"),
            Column(title="Month"),
            Column(title="Net", align="right", phone=False),
            Column(title="Tax", align="right", phone=False),
            Column(title="Total", align="right"),
            Column(title="State"),
            Column(title="Issued"),
        ],
        rows=[
            Row(
                href=visit.url(INVOICE, number=one["number"], customer_id=one["customer_id"]),
                cells=[
                    one["number"],
                    KINDS.get(one["kind"], one["kind"]),
                    one["month"],
                    Money(usd_of_cents(one["net_cents"])),
                    Money(usd_of_cents(one["tax_cents"])),
                    Money(usd_of_cents(one["total_cents"])),
                    status_badge(one["status"]),
                    Time(one["issued_at"], form="date"),
                ],
                actions=[Link("PDF", visit.url(f"{INVOICE}.pdf", number=one["number"]), download=True)],
                state="off" if one["status"] == "void" else None,
            )
            for one in rows
        ],
        next_href=next_href,
        first_href=first_href,
        empty=Empty(text="Nothing was issued yet. Choose a month above, look at its draft, and finalise it."),
    )
