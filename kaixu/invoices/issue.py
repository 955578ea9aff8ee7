"""Issues invoices, and voids them: each in one transaction, with its line in the audit log."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any

import asyncpg
import msgspec

from kaixu.accounts.customers import no_customer
from kaixu.accounts.shared_fields import TAKEN
from kaixu.config.invoices_section import InvoicesSection
from kaixu.config.price import usd
from kaixu.ops.change_origin import acting
from kaixu.plugin.book import BookMonth
from kaixu.plugin.errors import Conflict, NotFound
from kaixu.store import customers
from kaixu.store import invoices as store
from kaixu.store.audit import AuditEvent, write_audit
from kaixu.store.billing import Billing, billing
from kaixu.store.books import book_month, used_books
from kaixu.store.clock import now
from kaixu.store.integration_settings import shared_values
from kaixu.store.invoices import Issue, Stored
from kaixu.store.plugin_credits import carry_now, rolls_over
from kaixu.store.pool import database
from kaixu.store.query import Connection

from .amounts import Credit
from .compose import Composed, Material, compose, with_number
from .mailing import mail_issued
from .printing import printed

#: Makes what a book shows of a month; None where it cannot be made. By book.
Statements = Mapping[str, Callable[[BookMonth], dict[str, Any] | None]]

NO_STATEMENTS: Statements = {}


async def material_of(db: Connection, customer_id: int, month: date, statements: Statements) -> Material:
    """What an invoice is made of now. Raises `NotFound`."""
    customer = await customers.customer(db, customer_id)
    if customer is None:
        raise no_customer(customer_id)
    used = await used_books(db, customer_id, month)
    shown = {}
    for one in used:
        if (state := statements.get(one.book)) is not None:
            statement = state(await book_month(db, customer_id, one.book, month))
            if statement is not None:
                shown[one.book] = statement
    return Material(
        customer=customer,
        billing=await billing(db, customer_id),
        month=month,
        figures=await store.FIGURES.all(db, customer_id, month),
        forgiven={one.month: one.net_nusd for one in await store.FORGIVEN.all(db, customer_id)},
        keys=await store.KEY_NAMES.all(db, customer_id),
        payments=await store.PAYMENTS.all(db, customer_id, month),
        at=await now(db),
        settings=await shared_values(db, customer_id, TAKEN),
        own_books=frozenset(one.book for one in used if one.has_own_cap),
        statements=shown,
        rolls_over=await rolls_over(db),
    )


async def finalize(
    pool: asyncpg.Pool,
    section: InvoicesSection,
    customer_id: int,
    month: date,
    *,
    actor: str,
    request_id: str,
    statements: Statements = NO_STATEMENTS,
) -> tuple[Stored, bool]:
    """Issue the invoice of a month that is over, and whether this call did it: a month has one invoice in force.

    Raises `NotFound`, and `Conflict` with a code that says why it cannot be issued yet.
    """
    with database():
        await carry_now(pool, customer_id)  # before: a transaction that issues waits for no customer's row
        async with pool.acquire() as connection, connection.transaction():
            if not await store.lock_billing(connection, customer_id):
                raise no_customer(customer_id)
            existing = await store.in_force(connection, customer_id, month)
            if existing is not None:
                return existing, False
            close = await store.close_of(connection, customer_id, month, lost_wait_h=section.lost_wait_h)
            require_closed(close, month)
            material = await material_of(connection, customer_id, month, statements)
            require_details(section, material.billing, customer_id)
            composed = compose(material, section)
            if composed.totals.net_nusd < 0:
                raise Conflict(
                    f"the corrections of earlier months exceed the usage of {month:%Y-%m} by "
                    f"${usd(-composed.totals.net_nusd)}",
                    hint="They stay open for a later invoice.",
                    code="INVOICE_BELOW_ZERO",
                )
            attempt = await store.earlier_attempts(connection, customer_id, month)
            series = section.series_of("invoice", material.at.year)
            number = await store.take_number(connection, series)
            stored = await issue_invoice(connection, section, composed, material, attempt, series, number, actor)
            await mail_issued(connection, section, stored, material.billing, material.customer.email)
            await write_audit(
                connection,
                AuditEvent(
                    actor,
                    "INVOICE_FINALIZE",
                    f"customer:{customer_id}",
                    request_id,
                    after={"number": stored.name, "sha256": stored.sha256, "total_cents": stored.total_cents},
                ),
            )
            return stored, True


async def issue_invoice(
    connection: Connection,
    section: InvoicesSection,
    composed: Composed,
    material: Material,
    attempt: int,
    series: str,
    number: int,
    actor: str,
) -> Stored:
    """Store an invoice with its number."""
    name = section.number_name(series, number)
    totals = composed.totals
    snapshot = with_number(composed.snapshot, name, material.at, section.due_days)
    issue = await sealed(
        snapshot,
        kind="invoice",
        customer_id=material.customer.id,
        month=material.month,
        attempt=attempt,
        credited_id=None,
        series=series,
        number=number,
        amounts=Credit(totals.net_nusd, totals.net_cents, totals.tax_cents, totals.total_cents),
        credited_lines=[],
        actor=actor,
        issued_at=material.at,
    )
    return await stored_again(connection, await store.insert(connection, issue, composed.lines))


async def sealed(
    snapshot: dict[str, Any],
    *,
    kind: str,
    customer_id: int,
    month: date,
    attempt: int,
    credited_id: int | None,
    series: str,
    number: int,
    amounts: Credit,
    credited_lines: list[int],
    actor: str,
    issued_at: datetime,
    idempotency_key: str | None = None,
) -> Issue:
    """A snapshot as text with its hash, and the PDF with its own."""
    text = msgspec.json.encode(snapshot).decode()
    pdf = await asyncio.to_thread(printed, text)  # it takes longer than a call may wait
    return Issue(
        kind=kind,
        customer_id=customer_id,
        month=month,
        attempt=attempt,
        credited_id=credited_id,
        series=series,
        number=number,
        name=snapshot["number"],
        net_nusd=amounts.net_nusd,
        net_cents=amounts.net_cents,
        tax_cents=amounts.tax_cents,
        total_cents=amounts.total_cents,
        credited_lines=credited_lines,
        snapshot=text,
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        pdf=pdf,
        pdf_sha256=hashlib.sha256(pdf).hexdigest(),
        actor=acting(actor),
        issued_at=issued_at,
        idempotency_key=idempotency_key,
    )


async def stored_again(connection: Connection, invoice_id: int) -> Stored:
    """A row that was just written."""
    stored = await store.BY_ID.one(connection, invoice_id)
    assert stored is not None
    return stored


def require_closed(close: store.Close, month: date) -> None:
    """Raises `Conflict` for a month that is not over, or waits for calls."""
    if close.state == "open":
        raise Conflict(
            f"{month:%Y-%m} is not over", hint="Make a draft; it is issued when the month is over.", code="MONTH_OPEN"
        )
    if close.state == "waiting":
        raise Conflict(
            f"{month:%Y-%m} waits for {close.open_calls} running calls, and for {close.lost_calls} that may be "
            "settled late",
            hint="Try again later; after `invoices.lost_wait_h` it waits no longer.",
            code="MONTH_WAITING",
        )


def require_details(section: InvoicesSection, row: Billing, customer_id: int) -> None:
    """Raises `Conflict` where the seller or the customer's address is missing."""
    if section.seller is None:
        raise Conflict(
            "kaixu.yaml does not say who issues the invoices", hint="Add `invoices.seller`.", code="INVOICES_NOT_SET_UP"
        )
    missing = [name for name in ("name", "address", "country") if not getattr(row, name)]
    if section.require_address and missing:
        raise Conflict(
            f"the billing details of customer {customer_id} lack {', '.join(missing)}",
            hint="Set them with PATCH admin-billing, or with `kaixu invoices billing`.",
            code="BILLING_DETAILS_MISSING",
        )


async def find_invoice(db: Connection, name: str) -> Stored:
    """An issued invoice or credit note by its number. Raises `NotFound`."""
    stored = await store.BY_NAME.one(db, name)
    if stored is None:
        raise NotFound(f"there is no invoice `{name[:60]}`", code="UNKNOWN_INVOICE")
    return stored


async def locked_invoice(connection: Connection, name: str) -> Stored:
    """An invoice that can be credited or voided, read after its customer's lock. Raises `NotFound`, `Conflict`."""
    before = await find_invoice(connection, name)
    await store.lock_billing(connection, before.customer_id)
    stored = await find_invoice(connection, name)
    if stored.kind != "invoice":
        raise Conflict(f"{name} is a credit note", hint="Name the invoice.", code="NOT_AN_INVOICE")
    return stored


async def void(pool: asyncpg.Pool, name: str, *, reason: str, actor: str, request_id: str) -> tuple[Stored, bool]:
    """Void an invoice, and whether this call did it. It keeps its number, and what it billed can be billed again.

    Raises `NotFound`, and `Conflict` for an invoice with credit notes.
    """
    with database():
        async with pool.acquire() as connection, connection.transaction():
            stored = await locked_invoice(connection, name)
            if stored.voided_at is not None:
                return stored, False
            if await store.CREDITS.one(connection, stored.id) is not None:
                raise Conflict(
                    f"{name} has credit notes and cannot be voided",
                    hint="Credit the rest of it instead.",
                    code="INVOICE_CREDITED",
                )
            await store.insert_void(connection, stored.id, reason=reason, actor=acting(actor))
            await write_audit(
                connection,
                AuditEvent(
                    actor,
                    "INVOICE_VOID",
                    f"customer:{stored.customer_id}",
                    request_id,
                    {"number": name, "status": "final"},
                    {"number": name, "status": "void"},
                    {"reason": reason},
                ),
            )
            return await stored_again(connection, stored.id), True
