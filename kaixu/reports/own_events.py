"""`user-events`: the calls of a key, newest first, and its month by provider."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

import asyncpg
import msgspec

from kaixu.accounts import fields
from kaixu.config.price import cents_of_nusd, usd
from kaixu.store.query import Query

from .own_key import Credential, OwnKey, Scope, own_view, read_month, read_scope
from .values import instant, month_name

#: The length of a page, by default and at most.
EVENTS, MAX_EVENTS = 200, 500


class ProviderMonth(msgspec.Struct, frozen=True):
    """A month of one provider."""

    provider: str
    calls: int
    spent_nusd: int
    input_tokens: int
    output_tokens: int


class OwnEvent(msgspec.Struct, frozen=True):
    """One call, as its customer sees it."""

    id: int
    key_id: int
    book: str
    operation: str
    provider: str
    model: str
    input_tokens: int
    output_tokens: int
    cached_input_tokens: int
    reasoning_tokens: int
    cost_nusd: int
    end_reason: str
    install_id: str | None
    app_id: str | None
    build_id: str | None
    end_user: str | None
    request_id: str
    duration_ms: int
    created_at: datetime


# Roll-ups, what waits to be rolled up, and what `fill_usage` has not reached, in one statement: exact at any moment.
PROVIDERS = Query(
    ProviderMonth,
    """
    with counted as (
        select s.provider, q.calls, q.spent_nusd, q.input_tokens, q.output_tokens
          from kaixu.usage_series s
          join kaixu.usage_quarter q on q.series_id = s.id
         where s.customer_id = $1 and ($2::bigint is null or s.chain_id = $2)
           and q.bucket >= $3::date::timestamp at time zone 'UTC'
           and q.bucket < ($3::date + interval '1 month') at time zone 'UTC'
        union all
        select c.provider, c.calls, c.spent_nusd, c.input_tokens, c.output_tokens
          from kaixu.usage_change c
         where c.customer_id = $1 and ($2::bigint is null or c.chain_id = $2)
           and c.bucket >= $3::date::timestamp at time zone 'UTC'
           and c.bucket < ($3::date + interval '1 month') at time zone 'UTC'
        union all
        select e.provider, 1, e.cost_nusd, e.input_tokens, e.output_tokens
          from kaixu.usage_event e
         where exists (select from kaixu.rollup_state r where r.filled_at is null)
           and e.customer_id = $1 and ($2::bigint is null or e.chain_id = $2) and e.month = $3
           and e.rolled_up is null and e.id >= (select r.next_id from kaixu.rollup_state r)
    )
    select provider, sum(calls)::bigint as calls, sum(spent_nusd)::bigint as spent_nusd,
           sum(input_tokens)::bigint as input_tokens, sum(output_tokens)::bigint as output_tokens
      from counted
     group by provider
    having sum(calls) <> 0 or sum(spent_nusd) <> 0
     order by spent_nusd desc, provider
    """,
)

# $4: the cursor, the id of the last call of the page before; null: the newest calls. One that is not among the calls of
# this key finds nothing.
KEY_EVENTS = Query(
    OwnEvent,
    """
    select e.id, e.key_id, e.book, e.operation, e.provider, e.model, e.input_tokens, e.output_tokens,
           e.cached_input_tokens, e.reasoning_tokens, e.cost_nusd, e.end_reason, e.install_id, e.app_id, e.build_id,
           e.end_user, e.request_id, e.duration_ms, e.created_at
      from kaixu.usage_event e
     where e.customer_id = $1 and e.chain_id = $2 and e.month = $3
       and ($4::bigint is null
            or (e.created_at, e.id) < (select b.created_at, b.id
                                         from kaixu.usage_event b
                                        where b.id = $4 and b.month = $3 and b.customer_id = $1 and b.chain_id = $2))
     order by e.created_at desc, e.id desc
     limit $5
    """,
)

CUSTOMER_EVENTS = Query(
    OwnEvent,
    """
    select e.id, e.key_id, e.book, e.operation, e.provider, e.model, e.input_tokens, e.output_tokens,
           e.cached_input_tokens, e.reasoning_tokens, e.cost_nusd, e.end_reason, e.install_id, e.app_id, e.build_id,
           e.end_user, e.request_id, e.duration_ms, e.created_at
      from kaixu.usage_event e
     where e.customer_id = $1 and e.month = $2
       and ($3::bigint is null
            or (e.created_at, e.id) < (select b.created_at, b.id
                                         from kaixu.usage_event b
                                        where b.id = $3 and b.month = $2 and b.customer_id = $1))
     order by e.created_at desc, e.id desc
     limit $4
    """,
)


class OwnEvents(msgspec.Struct, frozen=True):
    """A page of calls, and the whole month by provider. `next_before_id`: the next page's cursor; None: the last."""

    own: OwnKey
    month: date
    scope: Scope
    providers: list[ProviderMonth]
    events: list[OwnEvent]
    next_before_id: int | None


async def own_events(pool: asyncpg.Pool, credential: Credential, values: Mapping[str, Any]) -> OwnEvents:
    """The newest `limit` calls of a key or of its account, or the newest that are older than `before_id`.

    From the parameters `month`, `scope`, `limit`, `before_id`. Raises `Invalid`, `RoleTooLow`, `Unauthenticated`.
    """
    limit = fields.bounded(values.get("limit"), "limit", MAX_EVENTS, least=1) or EVENTS
    before_id = fields.bounded(values.get("before_id"), "before_id", fields.MOST_ID, least=1)
    async with own_view(pool, credential) as (db, own):
        scope, month = read_scope(values, own), await read_month(db, values)
        chain_id = own.chain_id if scope == "key" else None
        providers = await PROVIDERS.all(db, own.customer_id, chain_id, month)
        if scope == "key":
            events = await KEY_EVENTS.all(db, own.customer_id, own.chain_id, month, before_id, limit + 1)
        else:
            events = await CUSTOMER_EVENTS.all(db, own.customer_id, month, before_id, limit + 1)
    page = events[:limit]
    return OwnEvents(own, month, scope, providers, page, page[-1].id if len(events) > limit else None)


def own_events_json(report: OwnEvents) -> dict[str, Any]:
    """The page and the month by provider."""
    own = report.own
    return {
        "month": month_name(report.month),
        "scope": report.scope,
        "key": {"id": own.key_id, "label": own.label, "key_last4": own.key_last4},
        "summary_by_provider": [
            {
                "provider": row.provider,
                "calls": row.calls,
                "cost_cents": cents_of_nusd(row.spent_nusd),
                "cost_usd": usd(row.spent_nusd),
                "input_tokens": row.input_tokens,
                "output_tokens": row.output_tokens,
            }
            for row in report.providers
        ],
        "events": [own_event_json(row) for row in report.events],
        "next_before_id": report.next_before_id,
    }


def own_event_json(row: OwnEvent) -> dict[str, Any]:
    """One call."""
    return {
        "id": row.id,
        "api_key_id": row.key_id,
        "book": row.book,
        "operation": row.operation,
        "provider": row.provider,
        "model": row.model,
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "cached_input_tokens": row.cached_input_tokens,
        "reasoning_tokens": row.reasoning_tokens,
        "cost_cents": cents_of_nusd(row.cost_nusd),
        "cost_usd": usd(row.cost_nusd),
        "end": row.end_reason,
        "install_id": row.install_id,
        "app_id": row.app_id,
        "build_id": row.build_id,
        "user": row.end_user,
        "request_id": row.request_id,
        "duration_ms": row.duration_ms,
        "created_at": instant(row.created_at),
    }
