"""Usage events: each call as it was billed."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any
from uuid import UUID

import msgspec

from kaixu.config.price import cents_of_nusd, usd
from kaixu.store.query import Connection, Query

from .call_time import CallTime
from .values import instant


class UsageEvent(msgspec.Struct, frozen=True):
    """One call as it was billed; `units`: what was counted besides tokens, for example vectors."""

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
    app_id: str | None
    build_id: str | None
    end_user: str | None


class EventFilter(msgspec.Struct, frozen=True):
    """Which calls of a month; None: all. `chain_id`: of a key and those that it replaced. All are compared exactly."""

    chain_id: int | None = None
    provider: str | None = None
    model: str | None = None
    app_id: str | None = None
    end_user: str | None = None
    end_reason: str | None = None


ALL = EventFilter()


def events_of(period: str) -> str:
    """The statement of the newest calls of a period, a condition of its own so that each statement has its index.

    `$3`: only those that are older than this event.
    """
    return f"""
    select e.id, e.ticket, e.month, e.customer_id, e.key_id, e.book, e.operation, e.provider, e.model, e.price_id,
           e.cost_nusd, e.vendor_cost_nusd, e.input_tokens, e.output_tokens, e.cached_input_tokens,
           e.cache_write_tokens, e.reasoning_tokens, e.units, e.usage_source, e.end_reason, e.install_id, e.request_id,
           e.admitted_at, e.duration_ms, e.created_at, e.vendor_cost_known, e.app_id, e.build_id, e.end_user
      from kaixu.usage_event e
     where e.customer_id = $1 and {period.format("e")}
       and ($3::bigint is null or (e.created_at, e.id) < (select b.created_at, b.id
                                                            from kaixu.usage_event b
                                                           where b.customer_id = $1 and {period.format("b")}
                                                             and b.id = $3))
       and ($4::bigint is null or e.chain_id = $4)
       and ($5::text is null or e.provider = $5)
       and ($6::text is null or e.model = $6)
       and ($7::text is null or e.app_id = $7)
       and ($8::text is null or e.end_user = $8)
       and ($9::text is null or e.end_reason = $9)
     order by e.created_at desc, e.id desc
     limit $10
    """  # noqa: S608 - constants


EVENTS = Query(UsageEvent, events_of("{0}.month = $2::date"))

#: A call is written after its admission; the index begins a day before, since the clocks of gateways differ.
EVENTS_OF_TIME = Query(
    UsageEvent,
    events_of(
        "{0}.month between $2::date and $11::date and {0}.created_at >= $12::timestamptz - interval '1 day'"
        " and {0}.admitted_at >= $12 and ($13::timestamptz is null or {0}.admitted_at < $13)"
    ),
)


async def usage_events(
    db: Connection,
    customer_id: int,
    period: date | CallTime,
    *,
    limit: int,
    before_id: int | None = None,
    chosen: EventFilter = ALL,
) -> list[UsageEvent]:
    """The newest calls of a month or of a time, or those that are older than the event `before_id`."""
    filters = msgspec.structs.astuple(chosen)
    if isinstance(period, date):
        return await EVENTS.all(db, customer_id, period, before_id, *filters, limit)
    return await EVENTS_OF_TIME.all(
        db, customer_id, period.first_month, before_id, *filters, limit, period.last_month, period.since, period.until
    )


def event_json(row: UsageEvent) -> dict[str, Any]:
    """One call as it was billed; `call`: which deployment served it, after how many tries."""
    units = dict(row.units or {})
    course = units.pop("call", None)
    return {
        "id": row.id,
        "api_key_id": row.key_id,
        "book": row.book,
        "provider": row.provider,
        "model": row.model,
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "cached_input_tokens": row.cached_input_tokens,
        "cache_write_tokens": row.cache_write_tokens,
        "reasoning_tokens": row.reasoning_tokens,
        "units": units or None,
        "call": course,
        "cost_cents": cents_of_nusd(row.cost_nusd),
        "cost_usd": usd(row.cost_nusd),
        "vendor_cost_usd": usd(row.vendor_cost_nusd) if row.vendor_cost_known else None,
        "price_id": row.price_id,
        "usage_source": row.usage_source,
        "end": row.end_reason,
        "install_id": row.install_id,
        "app_id": row.app_id,
        "build_id": row.build_id,
        "end_user": row.end_user,
        "request_id": row.request_id,
        "duration_ms": row.duration_ms,
        "created_at": instant(row.created_at),
    }
