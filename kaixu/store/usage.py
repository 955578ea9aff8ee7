"""What was used: a customer's month, its keys' months, its calls, and the price of each."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any
from uuid import UUID

import msgspec

from .query import Connection, Query


class MonthUsage(msgspec.Struct, frozen=True):
    """A customer's month, all books together. Money is in nano-dollars.

    `uncosted_nusd`: of what was spent, the part whose vendor cost is not known.
    """

    spent_nusd: int
    held_nusd: int
    extra_nusd: int
    vendor_cost_nusd: int
    uncosted_nusd: int
    calls: int
    input_tokens: int
    output_tokens: int
    updated_at: datetime | None


class BookUsage(msgspec.Struct, frozen=True):
    """A customer's month in one book: what it holds of the sums in `MonthUsage`."""

    book: str
    spent_nusd: int
    held_nusd: int
    vendor_cost_nusd: int
    uncosted_nusd: int
    calls: int


class KeyUsage(msgspec.Struct, frozen=True):
    """A key chain's month, under its newest key; all books together, and `books`: what each of them has spent."""

    key_id: int
    key_last4: str
    label: str
    cap_nusd: int | None
    spent_nusd: int
    held_nusd: int
    vendor_cost_nusd: int
    uncosted_nusd: int
    calls: int
    input_tokens: int
    output_tokens: int
    updated_at: datetime
    books: dict[str, int]


class UsageEvent(msgspec.Struct, frozen=True):
    """One call as it was billed; `units` is what it counted besides tokens, for example vectors."""

    id: int
    ticket: UUID
    month: date
    customer_id: int
    key_id: int
    book: str
    operation: str
    provider: str
    model: str
    price_id: int
    cost_nusd: int
    vendor_cost_nusd: int
    input_tokens: int
    output_tokens: int
    cached_input_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    units: dict[str, Any] | None
    usage_source: str
    end_reason: str
    install_id: str | None
    request_id: str
    admitted_at: datetime
    duration_ms: int
    created_at: datetime
    vendor_cost_known: bool


class PricedEvent(UsageEvent, frozen=True):
    """One call with its price version; None where there is no such version."""

    rates: dict[str, int] | None
    vendor: dict[str, int] | None
    priced_at: datetime | None
    unbilled_nusd: int


MONTH = Query(
    MonthUsage,
    """
    select coalesce(sum(spent_nusd), 0)::bigint as spent_nusd, coalesce(sum(held_nusd), 0)::bigint as held_nusd,
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
    select book, spent_nusd, held_nusd, vendor_cost_nusd, uncosted_nusd, calls
      from kaixu.customer_month
     where customer_id = $1 and month = $2
     order by book
    """,
)

KEYS = Query(
    KeyUsage,
    """
    select k.id as key_id, k.key_last4, k.label, k.monthly_cap_nusd as cap_nusd, m.spent_nusd, m.held_nusd,
           m.vendor_cost_nusd, m.uncosted_nusd, m.calls, m.input_tokens, m.output_tokens, m.updated_at, m.books
      from (select b.chain_id, sum(b.spent_nusd)::bigint as spent_nusd, sum(b.held_nusd)::bigint as held_nusd,
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


class LaneUsage(msgspec.Struct, frozen=True):
    """What calls of one provider cost in a month, by who served them: the deployment, and its lane's key."""

    provider: str
    deployment: str | None
    vendor_key: str | None
    calls: int
    spent_nusd: int
    vendor_cost_nusd: int


#: A call of several batches may have used several keys: each has its share by the batches that it was accepted for.
LANES = Query(
    LaneUsage,
    """
    select e.provider, e.units -> 'call' ->> 'deployment' as deployment, k.key as vendor_key, count(*) as calls,
           round(sum(e.cost_nusd * coalesce(k.share, 1)))::bigint as spent_nusd,
           round(sum(e.vendor_cost_nusd * coalesce(k.share, 1)))::bigint as vendor_cost_nusd
      from kaixu.usage_event e
      left join lateral (select a.key, a.value::numeric / sum(a.value::numeric) over () as share
                           from jsonb_each_text(e.units -> 'call' -> 'keys') a) k on true
     where e.month = $1 and e.units -> 'call' ->> 'deployment' is not null
     group by 1, 2, 3
     order by 1, 2, 3
    """,
)


async def lane_usage(db: Connection, month: date) -> list[LaneUsage]:
    """A month by deployments and their lanes' keys."""
    return await LANES.all(db, month)


EVENTS = Query(
    UsageEvent,
    """
    select id, ticket, month, customer_id, key_id, book, operation, provider, model, price_id, cost_nusd,
           vendor_cost_nusd, input_tokens, output_tokens, cached_input_tokens, cache_write_tokens,
           reasoning_tokens, units, usage_source, end_reason, install_id, request_id, admitted_at, duration_ms,
           created_at, vendor_cost_known
      from kaixu.usage_event
     where customer_id = $1 and month = $2
     order by created_at desc, id desc
     limit $3
    """,
)

# Three ways to name a call; request ids have no index, as nothing but this asks for them.
PRICED = Query(
    PricedEvent,
    """
    select e.id, e.ticket, e.month, e.customer_id, e.key_id, e.book, e.operation, e.provider, e.model,
           e.price_id, e.cost_nusd, e.vendor_cost_nusd, e.input_tokens, e.output_tokens,
           e.cached_input_tokens, e.cache_write_tokens, e.reasoning_tokens, e.units, e.usage_source,
           e.end_reason, e.install_id, e.request_id, e.admitted_at, e.duration_ms, e.created_at, e.vendor_cost_known,
           p.rates, p.vendor, p.created_at as priced_at,
           coalesce((e.units ->> 'unbilled_nusd')::bigint, 0) as unbilled_nusd
      from kaixu.usage_event e
      left join kaixu.price p on p.id = e.price_id
     where case when $1::bigint is not null then e.id = $1
                when $2::uuid is not null then e.ticket = $2
                else e.request_id = $3 end
     order by e.created_at desc, e.id desc
     limit $4
    """,
)


async def this_month(db: Connection) -> date:
    """The first day of the current month, in UTC, by the database's clock: the one that admission goes by."""
    month: date = await db.fetchval("select date_trunc('month', now() at time zone 'UTC')::date")
    return month


async def month_usage(db: Connection, customer_id: int, month: date) -> MonthUsage:
    """A customer's month; all zero where nothing happened in it."""
    return await MONTH.one(db, customer_id, month) or MonthUsage(0, 0, 0, 0, 0, 0, 0, 0, None)


async def book_usage(db: Connection, customer_id: int, month: date) -> list[BookUsage]:
    """The month of each book that anything happened in."""
    return await BOOKS.all(db, customer_id, month)


async def key_usage(db: Connection, customer_id: int, month: date) -> list[KeyUsage]:
    """The month of each key chain, dearest first."""
    return await KEYS.all(db, customer_id, month)


async def usage_events(db: Connection, customer_id: int, month: date, *, limit: int) -> list[UsageEvent]:
    """A month's newest calls."""
    return await EVENTS.all(db, customer_id, month, limit)


async def priced_events(
    db: Connection,
    *,
    event_id: int | None = None,
    ticket: UUID | None = None,
    request_id: str | None = None,
    limit: int,
) -> list[PricedEvent]:
    """Calls by one of their names, newest first, each with its price version."""
    return await PRICED.all(db, event_id, ticket, request_id, limit)
