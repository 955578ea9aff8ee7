"""A customer's month: totals, books, keys, newest calls."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

import asyncpg
import msgspec

from kaixu.accounts import fields
from kaixu.accounts.customers import no_customer
from kaixu.config.price import cents_of_nusd, usd
from kaixu.store import customers
from kaixu.store.clock import this_month
from kaixu.store.customers import Customer
from kaixu.store.pool import database
from kaixu.store.query import Connection, Query

from .call_time import read_call_time
from .events import EventFilter, UsageEvent, event_json, usage_events
from .own_choice import chain_of
from .time_range import read_clock
from .usage_tags import AppUsage, EndUserUsage, app_json, app_usage, end_user_json, end_user_usage
from .values import budget_fields, instant, month_name

#: The most calls of a page, and how many there are by default.
MAX_EVENTS = 1000
EVENTS = 200

MAX_NAME = 300
NOTHING: Mapping[str, object] = {}


class MonthUsage(msgspec.Struct, frozen=True):
    """A customer's month, all books together. Money is in nano-dollars.

    `uncosted_nusd`: the part of the spending whose vendor cost is unknown. `own_books_nusd`: what is spent and held in
    books with caps of their own, and so not of the customer's cap.
    """

    spent_nusd: int
    held_nusd: int
    own_books_nusd: int
    extra_nusd: int
    vendor_cost_nusd: int
    uncosted_nusd: int
    calls: int
    input_tokens: int
    output_tokens: int
    updated_at: datetime | None


class BookUsage(msgspec.Struct, frozen=True):
    """A customer's month in one book. `cap_nusd`: of a book with a cap of its own."""

    book: str
    has_own_cap: bool
    cap_nusd: int | None
    spent_nusd: int
    held_nusd: int
    vendor_cost_nusd: int
    uncosted_nusd: int
    calls: int


class KeyUsage(msgspec.Struct, frozen=True):
    """A key chain's month, with its newest key; all books together, and in `books` the spending of each."""

    key_id: int
    key_last4: str
    label: str
    cap_nusd: int | None
    spent_nusd: int
    held_nusd: int
    own_books_nusd: int
    vendor_cost_nusd: int
    uncosted_nusd: int
    calls: int
    input_tokens: int
    output_tokens: int
    updated_at: datetime
    books: dict[str, int]


MONTH = Query(
    MonthUsage,
    """
    select coalesce(sum(spent_nusd), 0)::bigint as spent_nusd, coalesce(sum(held_nusd), 0)::bigint as held_nusd,
           coalesce(sum(spent_nusd + held_nusd) filter (where has_own_cap), 0)::bigint as own_books_nusd,
           coalesce(sum(extra_nusd), 0)::bigint as extra_nusd,
           coalesce(sum(vendor_cost_nusd), 0)::bigint as vendor_cost_nusd,
           coalesce(sum(uncosted_nusd), 0)::bigint as uncosted_nusd, coalesce(sum(calls), 0)::bigint as calls,
           coalesce(sum(input_tokens), 0)::bigint as input_tokens,
           coalesce(sum(output_tokens), 0)::bigint as output_tokens, max(updated_at) as updated_at
      from kaixu.customer_month
     where customer_id = $1 and month = $2
    """,
)

BOOKS = Query(
    BookUsage,
    """
    select book, has_own_cap,
           case when has_own_cap then kaixu.book_cap(p_customer_id => customer_id, p_book => book) end as cap_nusd,
           spent_nusd, held_nusd, vendor_cost_nusd, uncosted_nusd, calls
      from kaixu.customer_month
     where customer_id = $1 and month = $2
     order by book
    """,
)

KEYS = Query(
    KeyUsage,
    """
    select k.id as key_id, k.key_last4, k.label, k.monthly_cap_nusd as cap_nusd, m.spent_nusd, m.held_nusd,
           m.own_books_nusd, m.vendor_cost_nusd, m.uncosted_nusd, m.calls, m.input_tokens, m.output_tokens,
           m.updated_at, m.books
      from (select b.chain_id, sum(b.spent_nusd)::bigint as spent_nusd, sum(b.held_nusd)::bigint as held_nusd,
                   coalesce(sum(b.spent_nusd + b.held_nusd) filter (where b.has_own_cap), 0)::bigint as own_books_nusd,
                   sum(b.vendor_cost_nusd)::bigint as vendor_cost_nusd,
                   sum(b.uncosted_nusd)::bigint as uncosted_nusd, sum(b.calls)::bigint as calls,
                   sum(b.input_tokens)::bigint as input_tokens, sum(b.output_tokens)::bigint as output_tokens,
                   max(b.updated_at) as updated_at, jsonb_object_agg(b.book, b.spent_nusd) as books
              from kaixu.key_month b
             where b.customer_id = $1 and b.month = $2
             group by b.chain_id) m
      join lateral (select v.id, v.key_last4, v.label, v.monthly_cap_nusd
                      from kaixu.virtual_key v
                     where v.chain_id = m.chain_id
                     order by v.id desc
                     limit 1) k on true
     order by m.spent_nusd desc, k.id
    """,
)


class CustomerUsage(msgspec.Struct, frozen=True):
    """A customer's month at one moment."""

    customer: Customer
    month: date
    total: MonthUsage
    books: list[BookUsage]
    keys: list[KeyUsage]
    apps: list[AppUsage]
    end_users: list[EndUserUsage]
    events: list[UsageEvent]
    next_before_id: int | None
    zone: str

    @property
    def cap_nusd(self) -> int:
        """The month's cap, top-ups included."""
        return self.customer.monthly_cap_nusd + self.total.extra_nusd

    @property
    def available_nusd(self) -> int:
        """What the customer may still spend: nothing, as long as it owes credit that was taken back."""
        total = self.total
        if total.extra_nusd < 0:
            return 0
        return max(0, self.cap_nusd - total.spent_nusd - total.held_nusd + total.own_books_nusd)


async def customer_usage(pool: asyncpg.Pool, customer_id: int, given: Mapping[str, object] = NOTHING) -> CustomerUsage:
    """A customer's month, by the fields of a request; the current one by default.

    `api_key_id`, `provider`, `model`, `app`, `end_user`, `end`, `limit` and `before_id` choose the calls that are
    listed, and `from` and `to` those of another time than the month; the sums are of the whole month.
    Raises `Invalid`, `Unprocessable`, `NotFound`.
    """
    chosen = fields.month(given.get("month"), "month")
    limit = fields.bounded(given.get("limit"), "limit", MAX_EVENTS, least=1) or EVENTS
    before_id = fields.bounded(given.get("before_id"), "before_id", fields.MOST_ID, least=1)
    key_id = fields.bounded(given.get("api_key_id"), "api_key_id", fields.MOST_ID, least=1)
    texts = [fields.text(given.get(name), name, MAX_NAME) for name in ("provider", "model", "app", "end_user", "end")]
    with database():
        # One snapshot, so that the parts add up although calls go on.
        async with (
            pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            # Planned for these values, so that filters that are not used cost nothing.
            await connection.execute("set local plan_cache_mode = force_custom_plan")
            customer = await customers.customer(connection, customer_id)
            if customer is None:
                raise no_customer(customer_id)
            of_month = chosen or await this_month(connection)
            chain_id = None if key_id is None else await chain_of(connection, key_id, customer_id)
            clock = await read_clock(connection)
            events = await usage_events(
                connection,
                customer_id,
                read_call_time(given, clock) or of_month,
                limit=limit + 1,
                before_id=before_id,
                chosen=EventFilter(chain_id, *texts),
            )
            return CustomerUsage(
                customer,
                of_month,
                await month_usage(connection, customer_id, of_month),
                await book_usage(connection, customer_id, of_month),
                await key_usage(connection, customer_id, of_month),
                await app_usage(connection, customer_id, of_month),
                await end_user_usage(connection, customer_id, of_month),
                events[:limit],
                events[limit - 1].id if len(events) > limit else None,
                clock.zone,
            )


async def month_usage(db: Connection, customer_id: int, month: date) -> MonthUsage:
    """A customer's month; all zero without calls."""
    return await MONTH.one(db, customer_id, month) or MonthUsage(0, 0, 0, 0, 0, 0, 0, 0, 0, None)


async def book_usage(db: Connection, customer_id: int, month: date) -> list[BookUsage]:
    """The month of each book that was used."""
    return await BOOKS.all(db, customer_id, month)


async def key_usage(db: Connection, customer_id: int, month: date) -> list[KeyUsage]:
    """The month of each key chain, by spending."""
    return await KEYS.all(db, customer_id, month)


def customer_usage_json(usage: CustomerUsage) -> dict[str, Any]:
    """A customer's month: total, keys, newest calls."""
    total = usage.total
    return {
        "customer": {
            "id": usage.customer.id,
            "monthly_cap_cents": cents_of_nusd(usage.customer.monthly_cap_nusd),
            "email": usage.customer.email,
            "plan_name": usage.customer.plan_name,
        },
        "month": month_name(usage.month),
        "rollup": {
            **budget_fields(total.spent_nusd, total.held_nusd, usage.available_nusd),
            "cap_cents": cents_of_nusd(usage.cap_nusd),
            "cap_usd": usd(usage.cap_nusd),
            "extra_cents": cents_of_nusd(total.extra_nusd),
            "extra_usd": usd(total.extra_nusd),
            "debt_usd": usd(max(0, -total.extra_nusd)),
            "vendor_cost_usd": usd(total.vendor_cost_nusd),
            "uncosted_usd": usd(total.uncosted_nusd),
            "margin_usd": usd(total.spent_nusd - total.uncosted_nusd - total.vendor_cost_nusd),
            "calls": total.calls,
            "input_tokens": total.input_tokens,
            "output_tokens": total.output_tokens,
            "updated_at": instant(total.updated_at),
        },
        "books": [book_json(row) for row in usage.books],
        "per_key": [key_json(row) for row in usage.keys],
        "per_app": [app_json(row) for row in usage.apps],
        "per_end_user": [end_user_json(row) for row in usage.end_users],
        "events": [event_json(row) for row in usage.events],
        "next_before_id": usage.next_before_id,
        "reporting_zone": usage.zone,
    }


def book_json(row: BookUsage) -> dict[str, Any]:
    """The month of one book. The customer's cap applies to all books together that have none of their own."""
    available = None if row.cap_nusd is None else max(0, row.cap_nusd - row.spent_nusd - row.held_nusd)
    return {
        "book": row.book,
        "has_own_cap": row.has_own_cap,
        "cap_usd": None if row.cap_nusd is None else usd(row.cap_nusd),
        **budget_fields(row.spent_nusd, row.held_nusd, available),
        "vendor_cost_usd": usd(row.vendor_cost_nusd),
        "uncosted_usd": usd(row.uncosted_nusd),
        "calls": row.calls,
    }


def available_of(row: KeyUsage) -> int | None:
    """What a key has left of its cap; None: it has none. Books with caps of their own do not count."""
    if row.cap_nusd is None:
        return None
    return max(0, row.cap_nusd - row.spent_nusd - row.held_nusd + row.own_books_nusd)


def key_json(row: KeyUsage) -> dict[str, Any]:
    """The month of a key and of the keys that it replaced."""
    available = available_of(row)
    return {
        "id": row.key_id,
        "key_last4": row.key_last4,
        "label": row.label,
        **budget_fields(row.spent_nusd, row.held_nusd, available),
        "spent_usd_by_book": {book: usd(spent) for book, spent in sorted(row.books.items())},
        "vendor_cost_usd": usd(row.vendor_cost_nusd),
        "uncosted_usd": usd(row.uncosted_nusd),
        "margin_usd": usd(row.spent_nusd - row.uncosted_nusd - row.vendor_cost_nusd),
        "calls": row.calls,
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "updated_at": instant(row.updated_at),
    }
