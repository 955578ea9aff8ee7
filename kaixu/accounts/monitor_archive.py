"""What operators do with old monitor events: remove them, list the archive, and read a file of it."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import asyncpg

from kaixu.plugin.errors import Unprocessable
from kaixu.store.audit import AuditEvent, write_audit
from kaixu.store.blobs import Blob, Blobs
from kaixu.store.monitor_removal import ARCHIVE, EventRemoval, count_older
from kaixu.store.pool import database


class MonitorArchive:
    """The monitor events that are old. `is_on` says whether they are archived before they are removed."""

    def __init__(self, pool: asyncpg.Pool, blobs: Blobs, is_on: Callable[[], bool]) -> None:
        self.pool = pool
        self.blobs = blobs
        self.is_on = is_on

    async def remove(self, *, days: int) -> int:
        """Remove the events that are older than `days`; return how many. Raises `DatabaseAway`, `Unavailable`."""
        removal = EventRemoval(self.pool, self.blobs if self.is_on() else None)
        return await removal.remove(datetime.now(UTC) - timedelta(days=days))

    async def count(self, *, days: int) -> int:
        """How many events are older than `days`. Raises `DatabaseAway`."""
        with database():
            return await count_older(self.pool, datetime.now(UTC) - timedelta(days=days))

    async def prune(self, *, days: int, actor: str, request_id: str | None) -> int:
        """The same for an operator, with an entry in the audit log."""
        removed = await self.remove(days=days)
        with database():
            meta = {"days": days, "removed": removed}
            await write_audit(self.pool, AuditEvent(actor, "MONITOR_PRUNE", "monitor", request_id, meta=meta))
        return removed

    async def files(self, prefix: str, *, after: str | None, most: int) -> list[Blob]:
        """The files of the archive, by name. Raises `Unprocessable`, `Unavailable`."""
        require_archive(prefix, "prefix")
        return await self.blobs.list(prefix, after=after, most=most)

    async def read(self, name: str) -> bytes:
        """A file as lines of JSON; it has some ten megabytes at most.

        Raises `NotFound`, `Unprocessable`, `Unavailable`.
        """
        require_archive(name, "key")
        return await asyncio.to_thread(gzip.decompress, await self.blobs.get(name))


def require_archive(name: str, field: str) -> None:
    """Raises `Unprocessable` for other blobs than those of the archive."""
    if not name.startswith(ARCHIVE):
        raise Unprocessable(f"`{field}` must begin with {ARCHIVE}", field=field)
