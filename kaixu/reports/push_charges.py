"""`user-push-charges`: what an account paid for pushes in a month, as the books of pushes state it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

import asyncpg
import msgspec

from kaixu.config.price import in_cents, usd
from kaixu.plugin.book import BookMonth
from kaixu.store.books import book_month

from .own_key import Credential, own_view, read_month
from .values import month_name

#: The books of pushes by the field that shows them, each with the names of its count and its price for clients of the
#: older edition, which expect them also while no integration states the book.
BOOKS: Mapping[str, tuple[str, str, str]] = {
    "netlify": ("push", "deploys_ready", "per_deploy_cents"),
    "github": ("github", "pushes_done", "per_push_cents"),
}

#: Makes what a book shows of a month; None where it cannot be made.
StateMonth = Callable[[BookMonth], dict[str, Any] | None]

EXPLANATION = (
    "Pushes are charged in books of their own, beside calls of models. "
    "A book has a monthly cap of its own, or is limited together with the others by the account's."
)


class PushCharges(msgspec.Struct, frozen=True):
    """An account's month in the books of pushes, by the field that shows it."""

    month: date
    books: dict[str, BookMonth]


async def push_charges(pool: asyncpg.Pool, credential: Credential, values: Mapping[str, Any]) -> PushCharges:
    """The month of the account, whatever the key's role. Raises `Invalid`, `Unauthenticated`, `CustomerDisabled`."""
    async with own_view(pool, credential) as (db, own):
        month = await read_month(db, values)
        books = {field: await book_month(db, own.customer_id, book, month) for field, (book, _, _) in BOOKS.items()}
    return PushCharges(month, books)


def push_charges_json(charges: PushCharges, statements: Mapping[str, StateMonth]) -> dict[str, Any]:
    """The month; zeros where nothing was pushed. The total is rounded once, and the parts add up to it."""
    spent = [one.spent_nusd for one in charges.books.values()]
    parts = {
        field: part_json(field, one, statements.get(one.book), cents)
        for (field, one), cents in zip(charges.books.items(), in_cents(spent), strict=True)
    }
    return {
        "month": month_name(charges.month),
        "currency": "USD",
        "transparency": EXPLANATION,
        **parts,
        "total_push_cents": sum(part["total_cents"] for part in parts.values()),
        "total_push_usd": usd(sum(spent)),
    }


def part_json(field: str, month: BookMonth, state: StateMonth | None, cents: int) -> dict[str, Any]:
    """The statement of a book; of one that nobody states, its sum."""
    _, count, price = BOOKS[field]
    version = "env" if field == "github" else month.pricing_version  # as the older edition's clients expect it
    unstated = {"pricing_version": version, "base_month_cents": 0, price: 0, "per_gb_cents": 0, count: 0}
    unstated |= {"bytes_uploaded": 0, "gb_estimate": 0.0}
    stated = None if state is None else state(month)
    return {**(unstated if stated is None else stated), "total_cents": cents, "total_usd": usd(month.spent_nusd)}
