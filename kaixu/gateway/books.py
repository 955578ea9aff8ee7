"""Stores the books of integrations and the prices of their charges by key, before anything is held."""

from __future__ import annotations

import logging
from decimal import Decimal
from typing import Any

import msgspec

from kaixu.catalog.catalog import Catalog, IntegrationState, rates_of
from kaixu.plugin.book import Book, Monthly
from kaixu.plugin.operation import Integration, PerUnit
from kaixu.store.books import take_books
from kaixu.store.prices import version_of
from kaixu.store.query import DatabaseSession

log = logging.getLogger(__name__)

NANO = 1_000_000_000


async def declare_books(catalog: Catalog, connection: DatabaseSession) -> None:
    """Store what every integration declares; one whose price list was used and then edited is off.

    Raises `DatabaseAway`.
    """
    for state in list(catalog.integrations.values()):
        declared = state.integration
        if state.state != "on" or declared is None or not (declared.books or declared.charges):
            continue
        books = [book_row(state, declared, book) for book in declared.books]
        async with connection.transaction():
            edited = await take_books(connection, state.name, books, await price_rows(state, declared, connection))
        if edited is not None:
            reason = (
                f"price list `{edited}` was used, and its prices have changed since: "
                "restore it, and give the new list another name"
            )
            log.error("integration %s is off: %s", state.name, reason)
            catalog.fail(state.name, reason)


def book_row(state: IntegrationState, declared: Integration, book: Book) -> dict[str, Any]:
    """A book as the database has it; the cap of customers without a setting is the option's, else the Struct's."""
    default: Any = None
    if book.cap is not None:
        default = getattr(state.options, book.cap, None)
        if default is None and declared.customer is not None:
            for field in msgspec.structs.fields(declared.customer):
                if field.encode_name == book.cap and field.default is not msgspec.NODEFAULT:
                    default = field.default
    return {
        "name": book.name,
        "title": book.title or book.name,
        "has_own_cap": book.cap is not None,
        "cap_setting": book.cap,
        "default_cap_nusd": None if default is None else nusd_of(default),
        "version_setting": book.version,
    }


def nusd_of(amount: Any) -> int:
    """An amount in USD as nano-dollars; what is no amount is a cap of 0, which refuses."""
    try:
        return max(0, round(Decimal(str(amount)) * NANO))
    except (ArithmeticError, ValueError):
        return 0


async def price_rows(
    state: IntegrationState, declared: Integration, connection: DatabaseSession
) -> list[dict[str, Any]]:
    """The price of every charge in every version of the price list."""
    return [
        {
            "version": version,
            "charge": charge.price,
            "book": charge.book,
            "kind": "month" if isinstance(charge, Monthly) else "unit" if isinstance(charge, PerUnit) else "call",
            "unit": charge.unit
            if isinstance(charge, PerUnit)
            else "months"
            if isinstance(charge, Monthly)
            else "calls",
            "per": charge.per if isinstance(charge, PerUnit) else 1,
            "price_nusd": prices[charge.price],
            "price_id": await version_of(connection, state.name, charge.price, rates_of(charge, prices), None),
        }
        for version, prices in state.price_lists.items()
        for charge in declared.charges
    ]
