"""What the holder of a key sees of the customer's invoices."""

from __future__ import annotations

from datetime import date

import asyncpg

from kaixu.config.invoices_section import InvoicesSection
from kaixu.plugin.errors import NotFound, RoleTooLow, Unauthenticated
from kaixu.store import invoices as store
from kaixu.store.callers import CallerKey, caller_key
from kaixu.store.invoices import Stored
from kaixu.store.pool import database

from .views import SEES_ALL, View, own_part, show_month

__all__ = ["CallerKey", "find_caller", "own_invoice", "own_month"]


async def find_caller(
    pool: asyncpg.Pool, *, key_hash: bytes | None, legacy_hash: bytes | None, key_id: int | None
) -> CallerKey:
    """The caller's key. Raises `Unauthenticated`."""
    with database():
        key = await caller_key(pool, key_hash=key_hash, legacy_hash=legacy_hash, key_id=key_id)
    if key is None:
        raise Unauthenticated("Invalid or revoked key")
    return key


async def own_month(pool: asyncpg.Pool, section: InvoicesSection, key: CallerKey, month: date | None) -> View:
    """The month's invoice or draft: the whole one for owners and admins, else the key's own part."""
    view = await show_month(pool, section, key.customer_id, month)
    if key.role in SEES_ALL:
        return view
    return View(
        view.exists,
        view.month,
        view.customer_id,
        own_part(view.snapshot, key.chain),
        view.created_at,
        view.updated_at,
        None,
        None,
    )


async def own_invoice(pool: asyncpg.Pool, key: CallerKey, month: date) -> Stored:
    """The month's issued invoice, for its PDF. Raises `RoleTooLow`, `NotFound`."""
    if key.role not in SEES_ALL:
        raise RoleTooLow("the PDF shows the whole account", hint="Use a key with the role admin or owner.")
    with database():
        stored = await store.in_force(pool, key.customer_id, month)
    if stored is None:
        raise NotFound(f"there is no invoice of {month:%Y-%m} yet", code="UNKNOWN_INVOICE")
    return stored
