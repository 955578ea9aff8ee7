"""Usage events: each call as it was billed."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any
from uuid import UUID

import msgspec

from kaixu.config.price import cents_of_nusd, usd
from kaixu.store.query import Connection, Query

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


async def usage_events(db: Connection, customer_id: int, month: date, *, limit: int) -> list[UsageEvent]:
    """A month's newest calls."""
    return await EVENTS.all(db, customer_id, month, limit)


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
        "request_id": row.request_id,
        "duration_ms": row.duration_ms,
        "created_at": instant(row.created_at),
    }
