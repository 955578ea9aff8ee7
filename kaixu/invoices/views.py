"""What operators and customers see of invoices: a month's draft or invoice, lists, PDFs."""

from __future__ import annotations

import hashlib
from datetime import date, datetime
from typing import Any

import asyncpg
import msgspec

from kaixu.accounts.customers import no_customer
from kaixu.config.invoices_section import InvoicesSection
from kaixu.config.price import usd
from kaixu.ops.instants import iso_instant
from kaixu.plugin.errors import Conflict
from kaixu.store import customers
from kaixu.store import invoices as store
from kaixu.store.audit import AuditEvent, write_audit
from kaixu.store.clock import this_month
from kaixu.store.invoices import Stored
from kaixu.store.plugin_credits import carry_now
from kaixu.store.pool import database
from kaixu.store.query import DatabaseSession

from .compose import compose
from .issue import NO_STATEMENTS, Statements, find_invoice, material_of


class View(msgspec.Struct, frozen=True):
    """A month's invoice, or the draft as it is now. `exists`: it was issued, or an operator made a draft."""

    exists: bool
    month: date
    customer_id: int
    snapshot: dict[str, Any]
    created_at: datetime | None
    updated_at: datetime | None
    stored: Stored | None
    close: store.Close | None


async def show_month(
    pool: asyncpg.Pool,
    section: InvoicesSection,
    customer_id: int,
    month: date | None,
    *,
    statements: Statements = NO_STATEMENTS,
) -> View:
    """The month's invoice in force, or its draft; by default of the current one. Raises `NotFound`."""
    with database():
        await carry_now(pool, customer_id)
        async with (
            pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            return await view_of(connection, section, customer_id, month or await this_month(connection), statements)


async def view_of(
    connection: DatabaseSession, section: InvoicesSection, customer_id: int, month: date, statements: Statements
) -> View:
    """The month's invoice in force, or its draft, as the transaction sees it."""
    stored = await store.in_force(connection, customer_id, month)
    if stored is not None:
        return stored_view(stored)
    draft = await store.DRAFT.one(connection, customer_id, month)
    composed = compose(await material_of(connection, customer_id, month, statements), section)
    close = await store.close_of(connection, customer_id, month, lost_wait_h=section.lost_wait_h)
    status = "ready" if close.state == "ready" else "draft"
    return View(
        draft is not None,
        month,
        customer_id,
        composed.snapshot | {"status": status},
        None if draft is None else draft.created_at,
        None if draft is None else draft.updated_at,
        None,
        close,
    )


def stored_view(stored: Stored) -> View:
    """An issued invoice as it was issued."""
    snapshot = msgspec.json.decode(stored.snapshot)
    return View(
        True, stored.month, stored.customer_id, snapshot, stored.issued_at, stored.issued_at, stored, None
    )  # fmt: skip


async def make_draft(
    pool: asyncpg.Pool,
    section: InvoicesSection,
    customer_id: int,
    month: date | None,
    *,
    actor: str,
    request_id: str,
    statements: Statements = NO_STATEMENTS,
) -> View:
    """Make a draft or renew it; it takes no number. Raises `NotFound`, and `Conflict` after the invoice was issued."""
    with database():
        await carry_now(pool, customer_id)
        async with pool.acquire() as connection, connection.transaction():
            if not await store.lock_billing(connection, customer_id):
                raise no_customer(customer_id)
            month = month or await this_month(connection)
            stored = await store.in_force(connection, customer_id, month)
            if stored is not None:
                raise Conflict(
                    f"{month:%Y-%m} was issued as {stored.name}",
                    hint="Correct it by a credit note, or void it first.",
                    code="INVOICE_FINAL",
                )
            await store.RENEW_DRAFT.one(connection, customer_id, month)
            await write_audit(
                connection,
                AuditEvent(
                    actor, "INVOICE_DRAFT", f"customer:{customer_id}", request_id, after={"month": f"{month:%Y-%m}"}
                ),
            )
            return await view_of(connection, section, customer_id, month, statements)


async def show_invoice(pool: asyncpg.Pool, name: str) -> View:
    """An issued invoice or credit note by its number. Raises `NotFound`."""
    with database():
        return stored_view(await find_invoice(pool, name))


async def list_invoices(
    pool: asyncpg.Pool,
    *,
    customer_id: int | None,
    month: date | None,
    before_id: int | None,
    status: str | None,
    kind: str | None,
    limit: int,
) -> list[Stored]:
    """Issued invoices and credit notes, newest first."""
    with database():
        if customer_id is not None and await customers.customer(pool, customer_id) is None:
            raise no_customer(customer_id)
        return await store.list_page(
            pool,
            customer_id=customer_id,
            month=month,
            before_id=before_id,
            status=status,
            kind=kind,
            limit=limit,
        )


async def read_pdf(pool: asyncpg.Pool, stored: Stored) -> bytes:
    """The PDF as it was issued; its bytes are checked against the hash."""
    with database():
        pdf = await store.pdf_of(pool, stored.id)
    assert hashlib.sha256(pdf).hexdigest() == stored.pdf_sha256, f"{stored.name}: the PDF is not what was issued"
    return pdf


def view_json(view: View) -> dict[str, Any]:
    """A month's invoice or draft, in the contract's shape, with more beside it."""
    stored = view.stored
    return {
        "exists": view.exists,
        "month": f"{view.month:%Y-%m}",
        "customer_id": view.customer_id,
        "snapshot": view.snapshot,
        "created_at": None if view.created_at is None else iso_instant(view.created_at),
        "updated_at": None if view.updated_at is None else iso_instant(view.updated_at),
        "status": view.snapshot["status"] if stored is None else status_of(stored),
        "number": None if stored is None else stored.name,
        "sha256": None if stored is None else stored.sha256,
        "pdf_sha256": None if stored is None else stored.pdf_sha256,
        "close": None if view.close is None else msgspec.to_builtins(view.close),
    }


def status_of(stored: Stored) -> str:
    """final or void."""
    return "final" if stored.voided_at is None else "void"


def row_json(stored: Stored) -> dict[str, Any]:
    """A row of the list."""
    sign = -1 if stored.kind == "credit_note" else 1
    return {
        "id": stored.id,
        "number": stored.name,
        "kind": stored.kind,
        "status": status_of(stored),
        "customer_id": stored.customer_id,
        "month": f"{stored.month:%Y-%m}",
        "currency": "USD",
        "net_usd": usd(sign * stored.net_nusd),
        "net_cents": sign * stored.net_cents,
        "tax_cents": sign * stored.tax_cents,
        "total_cents": sign * stored.total_cents,
        "sha256": stored.sha256,
        "issued_at": iso_instant(stored.issued_at),
        "voided_at": None if stored.voided_at is None else iso_instant(stored.voided_at),
        "void_reason": stored.void_reason,
    }


def own_part(snapshot: dict[str, Any], chain: list[int]) -> dict[str, Any]:
    """What a key without the right to the whole invoice sees: its own figures, nothing of other keys.

    `chain`: the keys of the caller's chain.
    """
    keys = [key for key in snapshot["keys"] if key["api_key_id"] in chain]
    own = keys[0] if keys else None
    spent = own["spent_cents"] if own else 0
    tokens = {name: own[name] if own else 0 for name in ("input_tokens", "output_tokens", "calls")}
    totals = {
        "spent_cents": spent,
        "spent_usd": own["spent_usd"] if own else "0.00",
        **tokens,
        "total_tokens": tokens["input_tokens"] + tokens["output_tokens"],
        "grand_total_cents": spent,
    }
    shown = ("kind", "status", "month", "period", "zone", "currency", "generated_at")
    return {name: snapshot[name] for name in shown} | {
        "customer": {"id": snapshot["customer"]["id"]},
        "totals": totals,
        "keys": keys,
        "topups": [],
        "auto_topup": None,
        "push": None,
        "books": {},
    }
