"""What the holder of a key sees of the customer's invoices."""

from __future__ import annotations

from datetime import date

import asyncpg

from kaixu.config.invoices_section import InvoicesSection
from kaixu.plugin.errors import NotFound, RoleTooLow
from kaixu.store import invoices as store
from kaixu.store.invoices import Stored
from kaixu.store.pool import database

from .views import View, own_part, show_month


async def own_month(
    pool: asyncpg.Pool,
    section: InvoicesSection,
    customer_id: int,
    month: date | None,
    *,
    chain_id: int,
    may_see_customer: bool,
) -> View:
    """The month's invoice or draft: the whole one if the key's role may see it, else the part of its chain."""
    view = await show_month(pool, section, customer_id, month)
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


async def own_invoice(pool: asyncpg.Pool, customer_id: int, month: date, *, may_see_customer: bool) -> Stored:
    """The month's issued invoice, for its PDF. Raises `RoleTooLow`, `NotFound`."""
    if not may_see_customer:
        raise RoleTooLow("the PDF shows the whole account", hint="Use a key with the role admin or owner.")
    with database():
        stored = await store.in_force(pool, customer_id, month)
    if stored is None:
        raise NotFound(f"there is no invoice of {month:%Y-%m} yet", code="UNKNOWN_INVOICE")
    return stored
