"""The newest monitor events by filter, or those that follow an id."""

from __future__ import annotations

import asyncpg

from kaixu.store.pool import database
from kaixu.store.query import Query

from .monitor_events import COLUMNS, MonitorRow
from .monitor_filter import MonitorFilter

EVENTS = f"select {COLUMNS} from kaixu.gateway_event e"  # noqa: S608 - constants

FILTER = """
       and ($3::text is null or e.level = $3)
       and ($4::text is null or e.kind = $4)
       and ($5::text is null or e.function_name = $5)
       and ($6::text is null or e.app_id = $6)
       and ($7::text is null or e.request_id = $7)
       and ($8::bigint is null or e.customer_id = $8)
       and ($9::bigint is null or e.key_id = $9)
       and ($10::text is null or e.provider = $10)
       and ($11::text is null or e.model = $11)
       and ($12::timestamptz is null or e.created_at >= $12)
       and ($13::integer is null or e.http_status = $13 or e.upstream_status = $13)
       and ($14::text is null or e.error_code = $14)
       and ($15::timestamptz is null or e.created_at < $15)
"""

NEWEST = Query(MonitorRow, f"{EVENTS} where ($1::bigint = 0 or e.id < $1) {FILTER} order by e.id desc limit $2")

FOLLOWING = Query(MonitorRow, f"{EVENTS} where e.id > $1 {FILTER} order by e.id limit $2")


async def monitor_events(
    pool: asyncpg.Pool, shown: MonitorFilter, *, limit: int, after_id: int = 0, before_id: int = 0
) -> list[MonitorRow]:
    """At most `limit` events, ascending by id: the first after `after_id`, or the newest, or those before `before_id`.

    Raises `DatabaseAway`.
    """
    values = (
        shown.level,
        shown.kind,
        shown.function,
        shown.app,
        shown.request_id,
        shown.customer_id,
        shown.key_id,
        shown.provider,
        shown.model,
        shown.since,
        shown.status,
        shown.code,
        shown.until,
    )
    with database():
        async with pool.acquire() as connection, connection.transaction(readonly=True):
            # Planned for these values, so that filters that are not used cost nothing and the others use indexes.
            await connection.execute("set local plan_cache_mode = force_custom_plan")
            if after_id:
                return await FOLLOWING.all(connection, after_id, limit, *values)
            return (await NEWEST.all(connection, before_id, limit, *values))[::-1]
