"""The files of integrations' blobs: encrypted frames, each an object of its own, in a folder for each blob.

The folders lie below one for each database, because several may share a store.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from uuid import UUID, uuid4

import asyncpg

from kaixu.plugin.errors import NotFound

from .blob_rows import home_id, note_store
from .blobs import Blobs
from .pool import database

#: Where the files are in the store of blobs.
FOLDER = "uploads"

#: The name of the store itself, in a file of it: two gateways that read the same one have the same store.
MARK = "store"

#: The folders of blobs are in 256 folders, by the beginning of their ids.
SHARDS = tuple(f"{number:02x}" for number in range(256))


class BlobFiles:
    """The files of one database's blobs in one store."""

    def __init__(self, blobs: Blobs, pool: Callable[[], asyncpg.Pool]) -> None:
        self.blobs = blobs
        self._pool = pool
        self._home: UUID | None = None
        self._store: UUID | None = None

    async def store_id(self) -> UUID:
        """The store's id, which is made at its first use. Raises `Unavailable`, `DatabaseAway`."""
        if self._store is None:
            root = await self.root()
            await self.blobs.put_new(f"{root}/{MARK}", str(uuid4()).encode())
            self._store = UUID((await self.blobs.get(f"{root}/{MARK}")).decode())
            await self.note_use()
        return self._store

    async def note_use(self) -> None:
        """Note in the database which store this gateway uses."""
        store_id = await self.store_id()
        with database():
            await note_store(self._pool(), store_id, self.blobs.place)

    async def root(self) -> str:
        """The folder of this database."""
        if self._home is None:
            with database():
                self._home = await home_id(self._pool())
        return f"{FOLDER}/{self._home}"

    async def folder(self, blob_id: UUID) -> str:
        """The folder of a blob."""
        return f"{await self.root()}/{blob_id.hex[:2]}/{blob_id}"

    async def write(self, blob_id: UUID, number: int, frame: bytes) -> None:
        """Write one frame. Raises `Unavailable`."""
        await self.blobs.put(f"{await self.folder(blob_id)}/{number:08d}", frame)

    async def read(self, blob_id: UUID, number: int) -> bytes:
        """Read one frame. Raises `NotFound`, `Unavailable`."""
        try:
            return await self.blobs.get(f"{await self.folder(blob_id)}/{number:08d}")
        except NotFound:
            raise NotFound("a part of this blob is not in the store") from None

    async def remove(self, blob_id: UUID) -> None:
        """Remove all files of a blob. Raises `Unavailable`."""
        await self.blobs.delete_folder(await self.folder(blob_id))

    async def blobs_in(self, shard: str) -> list[UUID]:
        """The blobs that have files in a shard, also unfinished ones."""
        found = []
        for folder in await self.blobs.folders_in(f"{await self.root()}/{shard}"):
            try:
                found.append(UUID(folder.rpartition("/")[2]))
            except ValueError:
                continue  # not ours
        return found

    async def frames_in(self, shard: str) -> AsyncIterator[UUID]:
        """The blob of each whole frame in a shard."""
        async for name in self.blobs.names_below(f"{await self.root()}/{shard}"):
            try:
                yield UUID(name.split("/")[-2])
            except (ValueError, IndexError):
                continue
