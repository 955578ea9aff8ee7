"""Issues credit notes: each takes back a part of an invoice, in one transaction with its line in the audit log."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import asyncpg
import msgspec

from kaixu.config.invoices_section import InvoicesSection
from kaixu.config.price import usd
from kaixu.ops.instants import iso_instant
from kaixu.plugin.errors import Conflict, Unprocessable
from kaixu.store import invoices as store
from kaixu.store.audit import AuditEvent, write_audit
from kaixu.store.clock import now
from kaixu.store.invoices import Line, Stored
from kaixu.store.pool import database
from kaixu.store.query import Connection

from .amounts import Credit, Totals, credit_of, credit_of_cents
from .issue import locked_invoice, sealed, stored_again
from .mailing import mail_note


async def credit(
    pool: asyncpg.Pool,
    section: InvoicesSection,
    name: str,
    *,
    amount_cents: int | None = None,
    lines: list[int] | None = None,
    reason: str,
    actor: str,
    request_id: str,
    idempotency_key: str | None = None,
) -> Stored:
    """Issue a credit note: over an amount that includes the tax, over lines, or over all that is left.

    A second time with the same `idempotency_key` it is the note of the first time. Raises `NotFound`, `Unprocessable`
    for an amount or a line that is not there to credit, `Conflict`.
    """
    with database():
        async with pool.acquire() as connection, connection.transaction():
            invoice = await locked_invoice(connection, name)
            if idempotency_key is not None:
                repeated = await store.BY_KEY.one(connection, invoice.customer_id, idempotency_key)
                if repeated is not None:
                    require_same(repeated, invoice, amount_cents, lines)
                    return repeated
            if invoice.voided_at is not None:
                raise Conflict(f"{name} is void", code="INVOICE_VOID")
            earlier = await store.CREDITS.all(connection, invoice.id)
            amounts, numbers = await credited(connection, invoice, earlier, amount_cents, lines)
            at = await now(connection)
            series = section.series_of("credit_note", at.year)
            number = await store.take_number(connection, series)
            snapshot = credit_snapshot(
                msgspec.json.decode(invoice.snapshot), amounts, numbers, section.number_name(series, number), reason, at
            )
            issue = await sealed(
                snapshot,
                kind="credit_note",
                customer_id=invoice.customer_id,
                month=invoice.month,
                attempt=len(earlier),
                credited_id=invoice.id,
                series=series,
                number=number,
                amounts=amounts,
                credited_lines=numbers,
                actor=actor,
                issued_at=at,
                idempotency_key=idempotency_key,
            )
            note = await stored_again(connection, await store.insert(connection, issue, []))
            await mail_note(connection, section, note)
            await write_audit(
                connection,
                AuditEvent(
                    actor,
                    "INVOICE_CREDIT",
                    f"customer:{invoice.customer_id}",
                    request_id,
                    {"number": name},
                    {"number": note.name, "total_cents": note.total_cents},
                    {"reason": reason},
                ),
            )
            return note


async def credited(
    connection: Connection, invoice: Stored, earlier: list[Stored], amount_cents: int | None, lines: list[int] | None
) -> tuple[Credit, list[int]]:
    """The amounts of the next credit note, and the lines that it credits."""
    notes = [Credit(one.net_nusd, one.net_cents, one.tax_cents, one.total_cents) for one in earlier]
    totals = Totals(invoice.net_nusd, [], invoice.net_cents, invoice.tax_cents, invoice.total_cents)
    left_cents = totals.total_cents - sum(one.total_cents for one in notes)
    if left_cents <= 0 or totals.net_nusd <= 0:
        raise Conflict(f"nothing of {invoice.name} is left to credit", code="NOTHING_TO_CREDIT")
    if lines is None:
        amount = left_cents if amount_cents is None else amount_cents
        if not 1 <= amount <= left_cents:
            raise Unprocessable(f"`amount_cents` must lie between 1 and {left_cents}", field="amount_cents")
        return credit_of_cents(totals, notes, total_cents=amount), []
    by_number = {one.line: one for one in await store.LINES.all(connection, invoice.id)}
    done = {number for one in earlier for number in one.credited_lines}
    chosen = sorted({*lines})
    for number in chosen:
        require_creditable(by_number.get(number), number, done)
    net_nusd = sum(by_number[number].amount_nusd for number in chosen)
    if net_nusd > totals.net_nusd - sum(one.net_nusd for one in notes):
        raise Unprocessable("`lines`: that is more than is left of the invoice", field="lines")
    amounts = credit_of(totals, notes, net_nusd=net_nusd)
    if amounts.total_cents <= 0:
        raise Unprocessable("`lines`: that is less than a cent", field="lines")
    return amounts, chosen


def require_same(note: Stored, invoice: Stored, amount_cents: int | None, lines: list[int] | None) -> None:
    """Raises `Conflict` where an idempotency key was used for another credit note."""
    is_same = note.credited_id == invoice.id and note.credited_lines == sorted({*(lines or ())})
    if not is_same or amount_cents not in (None, note.total_cents):
        raise Conflict(
            "this idempotency key was used for another credit note",
            hint="Use a fresh key for each credit note.",
            code="IDEMPOTENCY_KEY_USED",
        )


def require_creditable(line: Line | None, number: int, done: set[int]) -> None:
    """Raises `Unprocessable` for a line that is not there, credits something itself, or was credited before."""
    if line is None:
        raise Unprocessable(f"`lines`: there is no line {number}", field="lines")
    if line.amount_nusd <= 0:
        raise Unprocessable(f"`lines`: line {number} has no amount to credit", field="lines")
    if number in done:
        raise Unprocessable(f"`lines`: line {number} was credited before", field="lines")


def credit_snapshot(
    invoice: dict[str, Any], amounts: Credit, numbers: list[int], name: str, reason: str, at: datetime
) -> dict[str, Any]:
    """The snapshot of a credit note: the parties as they were, and what it takes back."""
    taken = [line for line in invoice["lines"] if line["line"] in numbers]
    tax = invoice["taxes"][0]
    return {
        "kind": "credit_note",
        "status": "final",
        "number": name,
        "credited_number": invoice["number"],
        "reason": reason,
        "generated_at": iso_instant(at),
        "issue_date": iso_instant(at)[:10],
        "due_date": None,
        "month": invoice["month"],
        "period": invoice["period"],
        "zone": invoice["zone"],
        "currency": invoice["currency"],
        "seller": invoice["seller"],
        "customer": invoice["customer"],
        "amounts": {
            "net_nusd": -amounts.net_nusd,
            "net_usd": usd(-amounts.net_nusd),
            "net_cents": -amounts.net_cents,
            "tax_cents": -amounts.tax_cents,
            "total_cents": -amounts.total_cents,
            "prepaid_cents": 0,
            "prepaid_applied_cents": 0,
            "due_cents": -amounts.total_cents,
        },
        "taxes": [
            tax | {"net_nusd": -amounts.net_nusd, "net_cents": -amounts.net_cents, "tax_cents": -amounts.tax_cents}
        ],
        "lines": [
            line
            | {
                "amount_cents": -line["amount_cents"],
                "amount_nusd": -line["amount_nusd"],
                "amount_usd": usd(-line["amount_nusd"]),
                "keys": [],
            }
            for line in taken
        ],
        "second_currency": None,
        "footer": None,
    }
