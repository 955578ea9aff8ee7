"""What the holder of a key sees of the customer's invoices."""

from __future__ import annotations

from datetime import date

import asyncpg

from kaixu.config.invoices_section import InvoicesSection
from kaixu.plugin.errors import NotFound, RoleTooLow
from kaixu.store import invoices as store
from kaixu.store.invoices import Stored
from kaixu.store.pool import database

from .issue import NO_STATEMENTS, Statements
from .views import View, list_invoices, own_part, show_month


async def own_month(
    pool: asyncpg.Pool,
    section: InvoicesSection,
    customer_id: int,
    month: date | None,
    *,
    chain_id: int,
    may_see_customer: bool,
    statements: Statements = NO_STATEMENTS,
) -> View:
    """The month's invoice or draft: the whole one if the key's role may see it, else the part of its chain."""
    view = await show_month(pool, section, customer_id, month, statements=statements)
    if may_see_customer:
        return view
    with database():
        chain = await store.keys_of_chain(pool, chain_id)
    return View(
        view.exists,
        view.month,
        view.customer_id,
        own_part(view.snapshot, chain),
        view.created_at,
        view.updated_at,
        None,
        None,
    )


async def own_invoices(
    pool: asyncpg.Pool, customer_id: int, *, before_id: int | None, limit: int, may_see_customer: bool
) -> list[Stored]:
    """The account's issued invoices and credit notes, newest first. Raises `RoleTooLow`."""
    require_account(may_see_customer, "the list shows the whole account")
    return await list_invoices(
        pool, customer_id=customer_id, month=None, before_id=before_id, status=None, kind=None, limit=limit
    )


def require_account(may_see_customer: bool, message: str) -> None:
    """Raises `RoleTooLow` for a key that sees only its own calls."""
    if not may_see_customer:
        raise RoleTooLow(message, hint="Use a key with the role admin or owner.")


async def own_numbered(pool: asyncpg.Pool, customer_id: int, number: str, *, may_see_customer: bool) -> Stored:
    """One of the account's invoices or credit notes by its number, for its PDF. Raises `RoleTooLow`, `NotFound`."""
    require_account(may_see_customer, "the PDF shows the whole account")
    with database():
        stored = await store.BY_NAME.one(pool, number)
    if stored is None or stored.customer_id != customer_id:
        raise NotFound(f"this account has no invoice `{number[:60]}`", code="UNKNOWN_INVOICE")
    return stored


async def own_invoice(pool: asyncpg.Pool, customer_id: int, month: date, *, may_see_customer: bool) -> Stored:
    """The month's issued invoice, for its PDF. Raises `RoleTooLow`, `NotFound`."""
    require_account(may_see_customer, "the PDF shows the whole account")
    with database():
        stored = await store.in_force(pool, customer_id, month)
    if stored is None:
        raise NotFound(f"there is no invoice of {month:%Y-%m} yet", code="UNKNOWN_INVOICE")
    return stored
