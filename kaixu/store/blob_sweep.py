"""Remove the files of blobs that are over, and find files without rows and rows without files.

A file of a live upload is never removed: an upload's row is committed before its first file is written, and stays as
long as the upload renews it.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from time import monotonic
from uuid import UUID

import asyncpg
import msgspec

from kaixu.ops.frames import frames_of
from kaixu.plugin.errors import DatabaseAway, Unavailable

from . import blob_rows
from .blob_files import SHARDS, BlobFiles
from .pool import database

log = logging.getLogger(__name__)

#: Rows of one statement, and removals of one round.
AT_ONCE = 500

#: After how many days the removals of a store that nobody uses any more are forgotten.
FORGOTTEN_DAYS = 30

#: Seconds between two notes of which store this gateway uses, and how old the notes are that `kaixu doctor` counts.
NOTED_EVERY_S = 60.0
USED_WITHIN_S = 300.0

#: How far clocks of gateways may be apart.
CLOCKS_S = 300


class Swept(msgspec.Struct):
    """What a search has found: blobs with files and no row, and blobs with a row and not all files."""

    without_row: int = 0
    without_files: int = 0


class BlobSweep:
    """The sweep of one gateway; several of them do no harm."""

    def __init__(self, files: BlobFiles, pool: Callable[[], asyncpg.Pool]) -> None:
        self.files = files
        self._pool = pool
        self._is_away = False
        self._noted_at: float | None = None

    async def round(self) -> None:
        """End the blobs whose time is over, and remove the files of those that have ended. Raises `DatabaseAway`."""
        pool = self._pool()
        with database():
            if not await blob_rows.are_there_any(pool):
                return
            while await blob_rows.end_blobs(pool, None, most=AT_ONCE) >= AT_ONCE:
                pass
        try:
            await self.note_use()
            await self.remove_files()
            self._is_away = False
        except DatabaseAway:
            raise
        except Unavailable as error:
            if not self._is_away:
                log.warning("files of blobs are removed later: %s", error.message)
            self._is_away = True

    async def note_use(self) -> None:
        """Note now and then which store this gateway uses. Raises `Unavailable`."""
        if self._noted_at is None or monotonic() - self._noted_at > NOTED_EVERY_S:
            await self.files.note_use()
            self._noted_at = monotonic()

    async def remove_files(self) -> None:
        """Remove the files of blobs without a row. Raises `Unavailable`."""
        pool, store_id = self._pool(), await self.files.store_id()
        while True:
            with database():
                ids = await blob_rows.removals(pool, store_id, AT_ONCE)
            for blob_id in ids:
                await self.files.remove(blob_id)
            if ids:
                with database():
                    await blob_rows.removed(pool, ids)
            if len(ids) < AT_ONCE:
                return

    async def search(self) -> Swept:
        """Compare all files with all rows, and remove what has no counterpart. Raises `Unavailable`."""
        swept = Swept()
        with database():
            if not await blob_rows.was_a_store_used(self._pool()):
                return swept
        store_id = await self.files.store_id()
        with database():
            await blob_rows.forget_removals(self._pool(), days=FORGOTTEN_DAYS)
        for shard in SHARDS:
            swept.without_row += await self.remove_files_without_rows(shard)
            swept.without_files += await self.forget_rows_without_files(shard, store_id)
        if swept.without_row or swept.without_files:
            log.warning(
                "blobs: %d had files and no row, %d had a row and not all of their files; both were removed",
                swept.without_row,
                swept.without_files,
            )
        return swept

    async def remove_files_without_rows(self, shard: str) -> int:
        """Remove the files of a shard that belong to no row. They are listed before rows are read, never after."""
        listed = await self.files.blobs_in(shard)
        count = 0
        for at in range(0, len(listed), AT_ONCE):
            ids = listed[at : at + AT_ONCE]
            with database():
                known = await blob_rows.ids_with_rows(self._pool(), ids)
            for blob_id in ids:
                if blob_id not in known:
                    await self.files.remove(blob_id)
                    count += 1
        return count

    async def forget_rows_without_files(self, shard: str, store_id: UUID) -> int:
        """Remove the rows of a shard whose files are not all there. Rows are read before files are listed."""
        began = datetime.now(UTC) - timedelta(seconds=CLOCKS_S)
        first, last = UUID(shard + "0" * 30), UUID(shard + "f" * 30)
        with database():
            rows = await blob_rows.on_file(self._pool(), store_id, first, last)
        if not rows:
            return 0
        frames: Counter[UUID] = Counter()
        async for blob_id in self.files.frames_in(shard):
            frames[blob_id] += 1
        lost = [row.id for row in rows if frames[row.id] < frames_of(row.size) and row.created_at < began]
        if not lost:
            return 0
        for blob_id in lost:
            log.error("blob %s is not whole: %d frames of it are there; it is removed", blob_id, frames[blob_id])
        with database():
            return await blob_rows.forget_blobs(self._pool(), lost)
