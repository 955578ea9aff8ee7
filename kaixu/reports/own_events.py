"""`user-events`: the calls of a key, newest first, and their sums by provider."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import asyncpg
import msgspec

from kaixu.accounts import fields
from kaixu.config.price import cents_of_nusd, usd
from kaixu.store.query import Query

from .own_choice import Chosen, read_chosen
from .own_key import Credential, OwnKey, own_view
from .time_range import read_clock
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
    admitted_at: datetime
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
           and ($4::text is null or s.provider = $4) and ($5::text is null or s.model = $5)
           and q.bucket >= $3::date::timestamp at time zone 'UTC'
           and q.bucket < ($3::date + interval '1 month') at time zone 'UTC'
        union all
        select c.provider, c.calls, c.spent_nusd, c.input_tokens, c.output_tokens
          from kaixu.usage_change c
         where c.customer_id = $1 and ($2::bigint is null or c.chain_id = $2)
           and ($4::text is null or c.provider = $4) and ($5::text is null or c.model = $5)
           and c.bucket >= $3::date::timestamp at time zone 'UTC'
           and c.bucket < ($3::date + interval '1 month') at time zone 'UTC'
        union all
        select e.provider, 1, e.cost_nusd, e.input_tokens, e.output_tokens
          from kaixu.usage_event e
         where exists (select from kaixu.rollup_state r where r.filled_at is null)
           and e.customer_id = $1 and ($2::bigint is null or e.chain_id = $2) and e.month = $3
           and ($4::text is null or e.provider = $4) and ($5::text is null or e.model = $5)
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

#: What sums and lists of calls have in common. $1: the customer; $2: a key chain; $3, $4: the first and the last month;
#: $5, $6: moments of the admission; then provider, model, app, end user. Null: any.
#: A call is written after its admission; the index begins a day before, since the clocks of gateways differ.
CONDITIONS = """
           e.customer_id = $1 and e.month between $3::date and $4::date
       and e.created_at >= coalesce($5::timestamptz - interval '1 day', '-infinity'::timestamptz)
       and ($5::timestamptz is null or e.admitted_at >= $5) and ($6::timestamptz is null or e.admitted_at < $6)
       and ($7::text is null or e.provider = $7) and ($8::text is null or e.model = $8)
       and ($9::text is null or e.app_id = $9) and ($10::text is null or e.end_user = $10)
"""

# For filters that the roll-ups do not know.
FILTERED_PROVIDERS = Query(
    ProviderMonth,
    f"""
    select e.provider, count(*)::bigint as calls, sum(e.cost_nusd)::bigint as spent_nusd,
           sum(e.input_tokens)::bigint as input_tokens, sum(e.output_tokens)::bigint as output_tokens
      from kaixu.usage_event e
     where ($2::bigint is null or e.chain_id = $2) and {CONDITIONS}
     group by e.provider
     order by spent_nusd desc, e.provider
    """,  # noqa: S608 - a constant
)


#: The call that a page begins after. One that is not among these calls is none.
CURSOR = """
      from kaixu.usage_event b
     where b.id = $11 and b.month between $3::date and $4::date and b.customer_id = $1
       and ($2::bigint is null or b.chain_id = $2)
"""


def page_of(chain: str) -> str:
    """The statement of a page. `chain` is a condition of its own, so that each statement has its index.

    $11: the cursor, the id of the last call of the page before; null: the newest calls. Its moment is a condition
    of its own, too: the index begins there, however deep the page lies.
    """
    return f"""
    select e.id, e.key_id, e.book, e.operation, e.provider, e.model, e.input_tokens, e.output_tokens,
           e.cached_input_tokens, e.reasoning_tokens, e.cost_nusd, e.end_reason, e.install_id, e.app_id, e.build_id,
           e.end_user, e.request_id, e.duration_ms, e.admitted_at, e.created_at
      from kaixu.usage_event e
     where {chain} and {CONDITIONS}
       and e.created_at <= case when $11::bigint is null then 'infinity'::timestamptz
                                else (select b.created_at {CURSOR}) end
       and ($11::bigint is null or (e.created_at, e.id) < (select b.created_at, b.id {CURSOR}))
     order by e.created_at desc, e.id desc
     limit $12
    """  # noqa: S608 - constants


KEY_EVENTS = Query(OwnEvent, page_of("e.chain_id = $2::bigint"))
CUSTOMER_EVENTS = Query(OwnEvent, page_of("$2::bigint is null"))


class OwnEvents(msgspec.Struct, frozen=True):
    """A page of calls, and all that match by provider. `next_before_id`: the next page's cursor; None: the last.

    `month`: None where the request named a time instead. `zone`: the one of days in `from` and `to`.
    """

    own: OwnKey
    chosen: Chosen
    zone: str
    providers: list[ProviderMonth]
    events: list[OwnEvent]
    next_before_id: int | None


async def own_events(pool: asyncpg.Pool, credential: Credential, values: Mapping[str, Any]) -> OwnEvents:
    """The newest `limit` calls of a key or of its account, or the newest that are older than `before_id`.

    Raises `Invalid`, `RoleTooLow`, `Forbidden`, `NotFound`, `Unauthenticated`.
    """
    limit = fields.bounded(values.get("limit"), "limit", MAX_EVENTS, least=1) or EVENTS
    before_id = fields.bounded(values.get("before_id"), "before_id", fields.MOST_ID, least=1)
    async with own_view(pool, credential) as (db, own):
        # A plan for any filters reads all calls of the account, ten times as long.
        await db.execute("set local plan_cache_mode = force_custom_plan")
        clock = await read_clock(db)
        chosen = await read_chosen(db, values, own, clock)
        conditions = chosen.conditions(own)
        if chosen.is_rolled_up:
            by = chosen.filters.get("provider"), chosen.filters.get("model")
            providers = await PROVIDERS.all(db, own.customer_id, chosen.chain_id, chosen.first_month, *by)
        else:
            providers = await FILTERED_PROVIDERS.all(db, *conditions)
        query = CUSTOMER_EVENTS if chosen.chain_id is None else KEY_EVENTS
        events = await query.all(db, *conditions, before_id, limit + 1)
    page = events[:limit]
    return OwnEvents(own, chosen, clock.zone, providers, page, page[-1].id if len(events) > limit else None)


def own_events_json(report: OwnEvents) -> dict[str, Any]:
    """The page and all that match by provider."""
    own, chosen = report.own, report.chosen
    return {
        "month": None if chosen.since is not None else month_name(chosen.first_month),
        "from": instant(chosen.since),
        "to": instant(chosen.until),
        "reporting_zone": report.zone,
        "scope": chosen.scope,
        "filters": chosen.filters,
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
        "admitted_at": instant(row.admitted_at),
        "created_at": instant(row.created_at),
    }
