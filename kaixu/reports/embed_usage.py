"""A customer's month of embeddings and searches."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import asyncpg
import msgspec

from kaixu.accounts import fields
from kaixu.accounts.customers import no_customer
from kaixu.config.price import cents_of_nusd, usd
from kaixu.store import customers
from kaixu.store.clock import this_month
from kaixu.store.pool import database
from kaixu.store.query import Connection, Query

from .values import instant, month_name

#: The newest calls that the report shows.
MAX_EVENTS = 200


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


class EmbedUsage(msgspec.Struct, frozen=True):
    """A customer's month of embeddings at one moment."""

    customer_id: int
    month: date
    totals: EmbedTotals
    events: list[EmbedEvent]


async def embed_usage(pool: asyncpg.Pool, customer_id: int, *, month: object) -> EmbedUsage:
    """A customer's month; the current one by default. Raises `Unprocessable` for a bad month, `NotFound`."""
    chosen = fields.month(month, "month")
    with database():
        async with (
            pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            if await customers.customer(connection, customer_id) is None:
                raise no_customer(customer_id)
            of_month = chosen or await this_month(connection)
            return EmbedUsage(
                customer_id,
                of_month,
                await embed_totals(connection, customer_id, of_month),
                await embed_events(connection, customer_id, of_month, limit=MAX_EVENTS),
            )


async def embed_totals(db: Connection, customer_id: int, month: date) -> EmbedTotals:
    """All of a month."""
    return await TOTALS.one(db, customer_id, month) or EmbedTotals(0, 0, 0, 0, 0, 0)


async def embed_events(db: Connection, customer_id: int, month: date, *, limit: int) -> list[EmbedEvent]:
    """A month's newest calls."""
    return await EVENTS.all(db, customer_id, month, limit)


def embed_usage_json(report: EmbedUsage) -> dict[str, Any]:
    """The report."""
    totals = report.totals
    return {
        "customer_id": report.customer_id,
        "month": month_name(report.month),
        "totals": {
            "embed_calls": totals.embed_calls,
            "search_calls": totals.search_calls,
            "vectors": totals.vectors,
            "vectors_stored": totals.stored,
            "tokens": totals.input_tokens,
            "cost_cents": cents_of_nusd(totals.cost_nusd),
            "cost_usd": usd(totals.cost_nusd),
        },
        "events": [event_json(row) for row in report.events],
    }


def event_json(row: EmbedEvent) -> dict[str, Any]:
    """One call."""
    return {
        "id": row.id,
        "created_at": instant(row.created_at),
        "operation": row.operation,
        "provider": row.provider,
        "model": row.model,
        "vectors": row.vectors,
        "vectors_stored": row.stored,
        "tokens": row.input_tokens,
        "cost_cents": cents_of_nusd(row.cost_nusd),
        "cost_usd": usd(row.cost_nusd),
        "end": row.end_reason,
        "request_id": row.request_id,
    }
