"""What was embedded, stored and searched in a month."""

from __future__ import annotations

from datetime import date, datetime

import msgspec

from .query import Connection, Query


class EmbedTotals(msgspec.Struct, frozen=True):
    """A customer's month of embeddings. Money is in nano-dollars."""

    embed_calls: int
    search_calls: int
    vectors: int
    stored: int
    input_tokens: int
    cost_nusd: int


class EmbedEvent(msgspec.Struct, frozen=True):
    """One call."""

    id: int
    operation: str
    provider: str
    model: str
    vectors: int
    stored: int
    input_tokens: int
    cost_nusd: int
    end_reason: str
    request_id: str
    created_at: datetime


TOTALS = Query(
    EmbedTotals,
    """
    select count(*) filter (where operation <> 'search') as embed_calls,
           count(*) filter (where operation = 'search') as search_calls,
           coalesce(sum((units ->> 'vectors')::bigint), 0)::bigint as vectors,
           coalesce(sum((units ->> 'stored')::bigint), 0)::bigint as stored,
           coalesce(sum(input_tokens), 0)::bigint as input_tokens,
           coalesce(sum(cost_nusd), 0)::bigint as cost_nusd
      from kaixu.usage_event
     where customer_id = $1 and month = $2 and operation in ('embed', 'import', 'search')
    """,
)

EVENTS = Query(
    EmbedEvent,
    """
    select id, operation, provider, model, coalesce((units ->> 'vectors')::bigint, 0) as vectors,
           coalesce((units ->> 'stored')::bigint, 0) as stored, input_tokens, cost_nusd, end_reason, request_id,
           created_at
      from kaixu.usage_event
     where customer_id = $1 and month = $2 and operation in ('embed', 'import', 'search')
     order by created_at desc, id desc
     limit $3
    """,
)


async def embed_totals(db: Connection, customer_id: int, month: date) -> EmbedTotals:
    """All of a month."""
    return await TOTALS.one(db, customer_id, month) or EmbedTotals(0, 0, 0, 0, 0, 0)


async def embed_events(db: Connection, customer_id: int, month: date, *, limit: int) -> list[EmbedEvent]:
    """A month's newest calls."""
    return await EVENTS.all(db, customer_id, month, limit)
