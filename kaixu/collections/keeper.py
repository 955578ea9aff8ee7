"""Keeping collections: indexes for large ones, the rows of deleted ones removed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import asyncpg

from kaixu.store import collections as store
from kaixu.store import vector_index
from kaixu.store.pool import database
from kaixu.store.vector_index import Wanting

log = logging.getLogger(__name__)

#: How long nobody else builds a collection's indexes after who did was last heard of.
LEASE_S = 120.0

#: Rows removed in one statement, and deleted collections looked at in one round.
ROWS_AT_ONCE = 2000
COLLECTIONS_A_ROUND = 20

#: Opens a connection of its own, without a time limit for statements.
Maintenance = Callable[[], AbstractAsyncContextManager[asyncpg.Connection]]


class CollectionKeeper:
    """One gateway's share of the keeping; any number of gateways may have one."""

    def __init__(self, pool: asyncpg.Pool, maintenance: Maintenance) -> None:
        self.pool = pool
        self.maintenance = maintenance

    async def round(self) -> None:
        """Look once for what there is to do, and do it."""
        await self.remove()
        while await self.index():
            pass

    async def index(self, *, quiet_s: float = vector_index.QUIET_S) -> bool:
        """Build the indexes of one collection; whether there was one to build for."""
        with database():
            wanting = await vector_index.claim(self.pool, lease_s=LEASE_S, quiet_s=quiet_s)
            if wanting is None:
                return False
            async with self.leased(wanting), self.maintenance() as connection:
                built = await vector_index.build(connection, wanting)
        log.info(
            "collection %d: its indexes over %d vectors %s",
            wanting.id,
            wanting.vectors,
            "are built" if built else "are not built",
        )
        return built

    @asynccontextmanager
    async def leased(self, wanting: Wanting) -> AsyncIterator[None]:
        """The lease is renewed while the block runs."""

        async def renew() -> None:
            while True:
                await asyncio.sleep(LEASE_S / 4)
                await vector_index.lease_again(self.pool, wanting.id, lease_s=LEASE_S)

        renewing = asyncio.get_running_loop().create_task(renew())
        try:
            yield
        finally:
            renewing.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await renewing

    async def remove(self) -> None:
        """Remove what belongs to deleted collections, a little at a time. Doing it twice does no harm."""
        with database():
            for collection_id in await store.removed(self.pool, limit=COLLECTIONS_A_ROUND):
                async with self.maintenance() as connection:
                    await vector_index.drop(connection, collection_id)
                while await store.remove_rows(self.pool, collection_id, most=ROWS_AT_ONCE):
                    pass
                await store.forget(self.pool, collection_id)
