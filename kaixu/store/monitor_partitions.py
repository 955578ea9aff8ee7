"""Monitor events by day: partitions made ahead, and the move of the events from before the partitions."""

from __future__ import annotations

import logging
import re
from datetime import date, timedelta

import asyncpg
import msgspec

from .query import Connection, DatabaseSession, Query

log = logging.getLogger(__name__)

#: How many days there are partitions for, from today on.
DAYS_AHEAD = 4

#: How many events are moved in one statement.
AT_ONCE = 2000

NAME = re.compile(r"gateway_event_(\d{4})_(\d\d)_(\d\d)")


class PartitionName(msgspec.Struct, frozen=True):
    """A partition's table."""

    name: str


PARTITIONS = Query(
    PartitionName,
    """
    select c.relname::text as name
      from pg_inherits i
      join pg_class c on c.oid = i.inhrelid
     where i.inhparent = 'kaixu.gateway_event'::regclass
     order by c.relname
    """,
)


async def ensure_event_partitions(connection: DatabaseSession) -> list[str]:
    """Make the partitions of today and the next days; return the names that were made.

    The default partition catches what this missed. Where the table is busy it is left for another time.
    """
    today = await connection.fetchval("select (now() at time zone 'UTC')::date")
    made: list[str] = []
    for day in (today + timedelta(days=ahead) for ahead in range(DAYS_AHEAD)):
        try:
            made += await make_day(connection, day)
        except asyncpg.LockNotAvailableError:
            log.warning("the table of monitor events is busy; the partition of %s will be made later", day)
    return made


async def make_day(connection: DatabaseSession, day: date) -> list[str]:
    """Create the partition of one day (UTC) unless it exists; its name if it was created."""
    name = f"gateway_event_{day:%Y_%m_%d}"
    async with connection.transaction():
        await connection.execute("set local lock_timeout = '300ms'")
        await connection.execute("select pg_advisory_xact_lock(hashtext('kaixu.partitions'))")
        if await connection.fetchval("select to_regclass($1)", f"kaixu.{name}") is not None:
            return []
        if await connection.fetchval(
            """
            select exists (select
                             from kaixu.gateway_event_other
                            where created_at >= $1::date::timestamp at time zone 'UTC'
                              and created_at < ($1::date + 1)::timestamp at time zone 'UTC')
            """,
            day,
        ):
            return []
        # Names and bounds are built from dates, never from input.
        await connection.execute(
            f"create table kaixu.{name} partition of kaixu.gateway_event "
            f"for values from ('{day} 00:00:00+00') to ('{day + timedelta(days=1)} 00:00:00+00')"
        )
    return [name]


async def partition_days(db: Connection) -> dict[date, str]:
    """The days that have a partition, and its name."""
    found: dict[date, str] = {}
    for row in await PARTITIONS.all(db):
        if match := NAME.fullmatch(row.name):
            found[date(*map(int, match.groups()))] = row.name
    return found


async def move_earlier_events(db: Connection, *, at_once: int = AT_ONCE) -> int:
    """Move the events that were there before the partitions, a few in each statement; return how many."""
    moved = 0
    while True:
        status = await db.execute(
            """
            with moved as (
                delete from kaixu.gateway_event_before b
                 where b.id in (select x.id from kaixu.gateway_event_before x order by x.id limit $1
                                   for update skip locked)
                returning b.*
            )
            insert into kaixu.gateway_event (id, request_id, level, kind, function_name, method, path, origin, referer,
                                             user_agent, ip_hash, app_id, build_id, customer_id, key_id, provider,
                                             model, http_status, duration_ms, error_code, error_message,
                                             upstream_status, extra, created_at)
            overriding system value
            select m.id, m.request_id, m.level, m.kind, m.function_name, m.method, m.path, m.origin, m.referer,
                   m.user_agent, m.ip_hash, m.app_id, m.build_id, m.customer_id, m.key_id, m.provider, m.model,
                   m.http_status, m.duration_ms, m.error_code, m.error_message, m.upstream_status, m.extra,
                   m.created_at
              from moved m
            """,
            at_once,
        )
        count = int(status.rsplit(" ", 1)[-1])
        moved += count
        if count < at_once:
            return moved
