"""`user-push-charges`: what an account paid for pushes in a month, from the books of the two push integrations."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import asyncpg
import msgspec

from kaixu.config.price import cents_of_nusd, usd
from kaixu.store.query import Query

from .own_key import Credential, own_view, read_month
from .values import month_name

#: The books of the integrations that push to Netlify and to GitHub.
NETLIFY, GITHUB = "push", "github"

BYTES_PER_GB = 2**30

EXPLANATION = (
    "Pushes are charged in books of their own, beside calls of models. "
    "All books together are limited by the account's monthly cap."
)


class PushBook(msgspec.Struct, frozen=True):
    """A month of one book. `pushes` and `bytes_uploaded`: the units that its operations counted."""

    book: str
    spent_nusd: int
    pushes: int
    bytes_uploaded: int


PUSH_BOOKS = Query(
    PushBook,
    """
    select m.book, m.spent_nusd, u.pushes, u.bytes_uploaded
      from kaixu.customer_month m
     cross join lateral (
           select coalesce(sum(case when jsonb_typeof(e.units -> 'pushes') = 'number'
                                    then (e.units ->> 'pushes')::numeric end), 0)::bigint as pushes,
                  coalesce(sum(case when jsonb_typeof(e.units -> 'bytes') = 'number'
                                    then (e.units ->> 'bytes')::numeric end), 0)::bigint as bytes_uploaded
             from kaixu.usage_event e
            where e.customer_id = m.customer_id and e.month = m.month and e.book = m.book) u
     where m.customer_id = $1 and m.month = $2 and m.book = any($3::text[])
    """,
)


class PushCharges(msgspec.Struct, frozen=True):
    """An account's month by book; a book without charges is missing."""

    month: date
    books: dict[str, PushBook]


async def push_charges(pool: asyncpg.Pool, credential: Credential, values: Mapping[str, Any]) -> PushCharges:
    """The month of the account, whatever the key's role. Raises `Invalid`, `Unauthenticated`, `CustomerDisabled`."""
    async with own_view(pool, credential) as (db, own):
        month = await read_month(db, values)
        rows = await PUSH_BOOKS.all(db, own.customer_id, month, [NETLIFY, GITHUB])
    return PushCharges(month, {row.book: row for row in rows})


def push_charges_json(charges: PushCharges) -> dict[str, Any]:
    """The month of both books; zeros where a book was not used."""
    month, books = charges.month, charges.books
    netlify = books.get(NETLIFY, PushBook(NETLIFY, 0, 0, 0))
    github = books.get(GITHUB, PushBook(GITHUB, 0, 0, 0))
    total_nusd = netlify.spent_nusd + github.spent_nusd
    return {
        "month": month_name(month),
        "currency": "USD",
        "transparency": EXPLANATION,
        "netlify": {"pricing_version": "v1", **book_fields(netlify, pushes="deploys_ready", price="per_deploy_cents")},
        "github": {"pricing_version": "env", **book_fields(github, pushes="pushes_done", price="per_push_cents")},
        "total_push_cents": cents_of_nusd(total_nusd),
        "total_push_usd": usd(total_nusd),
    }


def book_fields(row: PushBook, *, pushes: str, price: str) -> dict[str, Any]:
    """One book. Its prices are zero until its integration charges by them."""
    return {
        "base_month_cents": 0,
        price: 0,
        "per_gb_cents": 0,
        pushes: row.pushes,
        "bytes_uploaded": row.bytes_uploaded,
        "gb_estimate": round(row.bytes_uploaded / BYTES_PER_GB, 3),
        "total_cents": cents_of_nusd(row.spent_nusd),
        "total_usd": usd(row.spent_nusd),
    }
