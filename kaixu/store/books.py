"""Books of integrations: what is declared of them, and a customer's month in one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import asyncpg
import msgspec

from kaixu.plugin.book import BookLine, BookMonth, BookPrice

from .pool import database
from .query import Connection, Query


async def take_books(
    db: Connection, integration: str, books: Sequence[Mapping[str, Any]], prices: Sequence[Mapping[str, Any]]
) -> str | None:
    """Store what an integration declares; the version of a price list that was used and then edited, or None."""
    with database():
        edited: str | None = await db.fetchval(
            "select kaixu.take_books(p_integration => $1, p_books => $2, p_prices => $3)",
            integration,
            list(books),
            list(prices),
        )
    return edited


class Expired(msgspec.Struct, frozen=True):
    """How many holds have ended."""

    count: int


EXPIRE = Query(Expired, "select kaixu.expire_charges(p_most => $1) as count")


async def expire_charges(pool: asyncpg.Pool, *, most: int = 500) -> int:
    """End the holds of charges by key whose time is over; return how many. Raises `DatabaseAway`."""
    with database():
        async with pool.acquire() as connection, connection.transaction():
            row = await EXPIRE.one(connection, most)
    return 0 if row is None else row.count


class BookFigures(msgspec.Struct, frozen=True):
    """A customer's month in a book. Money is in nano-dollars."""

    month: date
    pricing_version: str
    has_own_cap: bool
    cap_nusd: int | None
    spent_nusd: int
    held_nusd: int


FIGURES = Query(
    BookFigures,
    """
    select x.month,
           coalesce((select v.version from kaixu.book_month v
                      where v.customer_id = $1 and v.month = x.month and v.book = $2),
                    kaixu.assigned_version(p_customer_id => $1, p_book => $2)) as pricing_version,
           o.has_own_cap,
           case when o.has_own_cap then kaixu.book_cap(p_customer_id => $1, p_book => $2) end as cap_nusd,
           coalesce(m.spent_nusd, 0) as spent_nusd, coalesce(m.held_nusd, 0) as held_nusd
      from (select coalesce($3::date, date_trunc('month', clock_timestamp() at time zone 'UTC')::date) as month) x
      left join kaixu.customer_month m on m.customer_id = $1 and m.month = x.month and m.book = $2
     cross join lateral (
           select kaixu.book_has_own_cap(p_customer_id => $1, p_month => x.month, p_book => $2) as has_own_cap) o
    """,
)


class Line(msgspec.Struct, frozen=True):
    """One charge, or one operation, of a month in a book."""

    charge: str
    is_monthly: bool
    count: int
    units: int
    nusd: int
    held_count: int
    held_units: int
    held_nusd: int


# Charges by key from their rows; operations that are billed at once from their events.
LINES = Query(
    Line,
    """
    select k.charge, k.is_monthly, count(*) filter (where k.state = 'charged') as count,
           coalesce(sum(k.units) filter (where k.state = 'charged'), 0)::bigint as units,
           coalesce(sum(k.cost_nusd) filter (where k.state = 'charged'), 0)::bigint as nusd,
           count(*) filter (where k.state = 'held') as held_count,
           coalesce(sum(k.units) filter (where k.state = 'held'), 0)::bigint as held_units,
           coalesce(sum(k.held_nusd), 0)::bigint as held_nusd
      from kaixu.keyed_charge k
     where k.customer_id = $1 and k.month = $3 and k.book = $2 and k.state in ('held', 'charged')
     group by k.charge, k.is_monthly
    union all
    select e.operation, false, count(*), count(*), sum(e.cost_nusd)::bigint, 0, 0, 0
      from kaixu.usage_event e
     where e.customer_id = $1 and e.month = $3 and e.book = $2 and $4
       and not exists (select from kaixu.keyed_charge k where k.ticket = e.ticket)
     group by e.operation
     order by 1
    """,
)


class Price(msgspec.Struct, frozen=True):
    """The price of a charge by key."""

    charge: str
    nusd: int
    per: int
    unit: str


PRICES = Query(
    Price,
    """
    select p.charge, p.price_nusd as nusd, p.per, p.unit
      from kaixu.book_price p
     where p.book = $1 and p.version = $2
     order by p.charge
    """,
)


class UsedBook(msgspec.Struct, frozen=True):
    """A book in which a customer has a month. `has_own_cap`: it does not draw on the customer's cap."""

    book: str
    has_own_cap: bool


USED = Query(
    UsedBook,
    """
    select m.book, m.has_own_cap
      from kaixu.customer_month m
     where m.customer_id = $1 and m.month = $2
     order by m.book
    """,
)


async def used_books(db: Connection, customer_id: int, month: date) -> list[UsedBook]:
    """The books in which a customer has a month."""
    return await USED.all(db, customer_id, month)


async def book_month(db: Connection, customer_id: int, book: str, month: date | None) -> BookMonth:
    """A customer's month in a book; default: the current one. Raises `DatabaseAway`."""
    with database():
        figures = await FIGURES.one(db, customer_id, book, month)
        assert figures is not None
        # The calls of models are in reports; there may be millions.
        lines = await LINES.all(db, customer_id, book, figures.month, book != "ai")
        prices = await PRICES.all(db, book, figures.pricing_version)
    return BookMonth(
        book=book,
        month=figures.month,
        pricing_version=figures.pricing_version,
        cap_nusd=figures.cap_nusd,
        spent_nusd=figures.spent_nusd,
        held_nusd=figures.held_nusd,
        base_nusd=sum(line.nusd for line in lines if line.is_monthly),
        lines=[
            BookLine(line.charge, line.count, line.units, line.nusd, line.held_count, line.held_units, line.held_nusd)
            for line in lines
        ],
        prices={one.charge: BookPrice(one.nusd, one.per, one.unit) for one in prices},
    )
