"""Calls that failed or were refused: grouped by reason and place, and listed, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import asyncpg
import msgspec

from kaixu.store.pool import database
from kaixu.store.query import Query

from .values import instant

#: The kinds of events that a failed or refused call leaves.
KINDS = ("error", "rate_limited", "blocked")

MAX_GROUPS = 200
MAX_LISTED = 1000


class FailureFilter(msgspec.Struct, frozen=True):
    """Which failures; None: any. `before_id`: only those before this event, for the next page."""

    since: datetime
    customer_id: int | None = None
    key_id: int | None = None
    provider: str | None = None
    model: str | None = None
    code: str | None = None
    before_id: int | None = None


class FailureGroup(msgspec.Struct, frozen=True):
    """Failures with the same code and the same vendor's status at the same deployment. `words`: of the newest one."""

    code: str
    upstream_status: int | None
    provider: str | None
    model: str | None
    deployment: str | None
    calls: int
    customers: int
    first_at: datetime
    last_at: datetime
    words: str | None
    request_id: str | None


class FailedCall(msgspec.Struct, frozen=True):
    """One failed or refused call."""

    id: int
    created_at: datetime
    kind: str
    request_id: str | None
    function_name: str | None
    customer_id: int | None
    key_id: int | None
    provider: str | None
    model: str | None
    deployment: str | None
    http_status: int | None
    error_code: str | None
    error_message: str | None
    upstream_status: int | None
    reason: str | None
    words: str | None
    duration_ms: int | None
    app_id: str | None
    build_id: str | None


GROUPS = Query(
    FailureGroup,
    """
    select e.error_code as code, e.upstream_status, e.provider, e.model, e.deployment,
           count(*) as calls, count(distinct e.customer_id) as customers, min(e.created_at) as first_at,
           max(e.created_at) as last_at, (array_agg(e.upstream_body order by e.id desc))[1] as words,
           (array_agg(e.request_id order by e.id desc))[1] as request_id
      from kaixu.gateway_event e
     where e.kind = any ($1::text[]) and e.error_code is not null and e.created_at >= $2
       and ($3::bigint is null or e.customer_id = $3) and ($4::bigint is null or e.key_id = $4)
       and ($5::text is null or e.provider = $5) and ($6::text is null or e.model = $6)
       and ($7::text is null or e.error_code = $7)
     group by 1, 2, 3, 4, 5
     order by calls desc, last_at desc
     limit $8
    """,
)

CALLS = Query(
    FailedCall,
    """
    select e.id, e.created_at, e.kind, e.request_id, e.function_name, e.customer_id, e.key_id, e.provider, e.model,
           e.deployment, e.http_status, e.error_code, e.error_message, e.upstream_status,
           e.extra -> 'vendor' ->> 'reason' as reason, e.upstream_body as words, e.duration_ms,
           e.app_id, e.build_id
      from kaixu.gateway_event e
     where e.kind = any ($1::text[]) and e.error_code is not null and e.created_at >= $2
       and ($3::bigint is null or e.customer_id = $3) and ($4::bigint is null or e.key_id = $4)
       and ($5::text is null or e.provider = $5) and ($6::text is null or e.model = $6)
       and ($7::text is null or e.error_code = $7) and ($8::bigint is null or e.id < $8)
     order by e.id desc
     limit $9
    """,
)


class Failures(msgspec.Struct, frozen=True):
    """The groups, the newest failures, and from where the next page goes on; None: there is none."""

    groups: list[FailureGroup]
    calls: list[FailedCall]
    next_before_id: int | None


def values_of(wanted: FailureFilter) -> Sequence[object]:
    """The parameters that both statements have."""
    return (
        list(KINDS),
        wanted.since,
        wanted.customer_id,
        wanted.key_id,
        wanted.provider,
        wanted.model,
        wanted.code,
    )


async def failures(pool: asyncpg.Pool, wanted: FailureFilter, *, limit: int) -> Failures:
    """The failures that `wanted` describes; at most `limit` of them are listed. Raises `DatabaseAway`."""
    limit = min(limit, MAX_LISTED)
    with database():
        async with pool.acquire() as connection, connection.transaction(readonly=True):
            # Planned for these values: only then the filters that are set use indexes.
            await connection.execute("set local plan_cache_mode = force_custom_plan")
            groups = await GROUPS.all(connection, *values_of(wanted), MAX_GROUPS)
            calls = await CALLS.all(connection, *values_of(wanted), wanted.before_id, limit + 1)
    more = len(calls) > limit
    calls = calls[:limit]
    return Failures(groups, calls, calls[-1].id if more else None)


def failures_json(found: Failures) -> dict[str, Any]:
    """For scripts."""
    return {
        "groups": [with_instants(group) for group in found.groups],
        "failures": [with_instants(call) for call in found.calls],
        "next_before_id": found.next_before_id,
    }


def with_instants(row: msgspec.Struct) -> dict[str, Any]:
    """A row with its times as text."""
    return {
        name: instant(value) if isinstance(value, datetime) else value
        for name, value in msgspec.structs.asdict(row).items()
    }
