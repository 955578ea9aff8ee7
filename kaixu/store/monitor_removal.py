"""Removes old monitor events: whole days by dropping their partition, others in small deletes; archived first."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import logging
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import asyncpg
import msgspec

from .blobs import Blobs
from .monitor_partitions import partition_days
from .pool import database
from .query import Connection, Query

log = logging.getLogger(__name__)

#: How many events one file of the archive holds, and one delete removes.
BATCH = 10_000

#: Where the archive is in the store of blobs.
ARCHIVE = "gateway_events/"


class StoredEvent(msgspec.Struct, frozen=True):
    """An event as a line of the archive."""

    id: int
    created_at: datetime
    line: str


EVENTS_OF_DAY = Query(
    StoredEvent,
    """
    select e.id, e.created_at, to_json(e)::text as line
      from kaixu.gateway_event e
     where e.created_at >= $1 and e.created_at < $2 and e.id > $3
     order by e.id
     limit $4
    """,
)

OLDEST_EVENTS = Query(
    StoredEvent,
    """
    select e.id, e.created_at, to_json(e)::text as line
      from kaixu.gateway_event e
     where e.created_at < $1
     order by e.created_at, e.id
     limit $2
    """,
)


class EventCount(msgspec.Struct, frozen=True):
    """A number of events."""

    events: int


OLDER_EVENTS = Query(EventCount, "select count(*) as events from kaixu.gateway_event e where e.created_at < $1")


async def count_older(db: Connection, before: datetime) -> int:
    """How many events are from before a moment."""
    count = await OLDER_EVENTS.one(db, before)
    assert count is not None
    return count.events


class ArchiveBroken(Exception):
    """A file of the archive does not hold what was written."""


class EventRemoval:
    """Removes events that are older than a moment. `blobs`: where they are archived before; None: nowhere.

    What it does may be repeated after a crash at any moment: a file is written again under the same name, and
    nothing is removed before its file was read back. Several processes at once do the same work twice, no harm.
    """

    def __init__(self, pool: asyncpg.Pool, blobs: Blobs | None) -> None:
        self.pool = pool
        self.blobs = blobs

    async def remove(self, before: datetime) -> int:
        """Remove the events from before a moment; return how many. Raises `DatabaseAway`, `Unavailable`."""
        with database():
            removed = 0
            for day, name in sorted((await partition_days(self.pool)).items()):
                if midnight(day + timedelta(days=1)) <= before:
                    removed += await self._remove_day(day, name)
            return removed + await self._remove_rows(before)

    async def _remove_day(self, day: date, name: str) -> int:
        """Archive a day and drop its partition. A day that is busy, or still gets events, is left for the next time."""
        archived, last = 0, 0
        if self.blobs is not None:
            while rows := await EVENTS_OF_DAY.all(
                self.pool, midnight(day), midnight(day + timedelta(days=1)), last, BATCH
            ):
                await self._archive(day, rows)
                archived, last = archived + len(rows), rows[-1].id
        try:
            async with self.pool.acquire() as connection, connection.transaction():
                await connection.execute("set local lock_timeout = '300ms'")
                await connection.execute("select pg_advisory_xact_lock(hashtext('kaixu.partitions'))")
                if await connection.fetchval("select to_regclass($1)", f"kaixu.{name}") is None:
                    return 0  # another process was faster
                # Locks the parent, too: nothing is written meanwhile.
                await connection.execute("lock table kaixu.gateway_event in access exclusive mode")
                count: int = await connection.fetchval(f"select count(*) from kaixu.{name}")  # noqa: S608
                if self.blobs is not None and count != archived:
                    return 0
                await connection.execute(f"drop table kaixu.{name}")
                return count
        except asyncpg.LockNotAvailableError:
            log.warning("the table of monitor events is busy; the partition of %s will be removed later", day)
            return 0

    async def _remove_rows(self, before: datetime) -> int:
        """Remove the events that are not in a partition of an old day."""
        removed = 0
        while rows := await OLDEST_EVENTS.all(self.pool, before, BATCH):
            if self.blobs is not None:
                days: dict[date, list[StoredEvent]] = {}
                for row in rows:
                    days.setdefault(row.created_at.astimezone(UTC).date(), []).append(row)
                for day, of_day in days.items():
                    await self._archive(day, of_day)
            status = await self.pool.execute(
                """
                delete from kaixu.gateway_event e
                 using unnest($1::timestamptz[], $2::bigint[]) as old (created_at, id)
                 where e.created_at = old.created_at and e.id = old.id
                """,
                [row.created_at for row in rows],
                [row.id for row in rows],
            )
            removed += int(status.rsplit(" ", 1)[-1])
        return removed

    async def _archive(self, day: date, rows: Sequence[StoredEvent]) -> None:
        """Write one file, and read it back."""
        assert self.blobs is not None
        lines = "".join(f"{row.line}\n" for row in rows).encode()
        first, last = min(row.id for row in rows), max(row.id for row in rows)
        name = f"{ARCHIVE}{day}/batch-{first}-{last}.ndjson.gz"
        await self.blobs.put(name, await asyncio.to_thread(gzip.compress, lines, 6, mtime=0))
        stored = await asyncio.to_thread(gzip.decompress, await self.blobs.get(name))
        if hashlib.sha256(stored).digest() != hashlib.sha256(lines).digest():
            raise ArchiveBroken(f"{name} does not hold what was written; nothing was removed")


def midnight(day: date) -> datetime:
    """The beginning of a day in UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
