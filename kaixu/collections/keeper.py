"""Maintain collections: build the indexes of large ones, delete the rows of deleted ones."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import asyncpg

from kaixu.ops.leases import renewing
from kaixu.store import collections as store
from kaixu.store import vector_index
from kaixu.store.pool import database

log = logging.getLogger(__name__)

#: The lease; without renewal, another gateway may build the indexes after it.
LEASE_S = 120.0

#: Rows removed in one statement, and deleted collections handled in one round.
ROWS_AT_ONCE = 2000
COLLECTIONS_A_ROUND = 20

#: Opens a connection of its own, without a time limit for statements.
Maintenance = Callable[[], AbstractAsyncContextManager[asyncpg.Connection]]


class CollectionKeeper:
    """Maintains collections; any number of gateways may run one."""

    def __init__(self, pool: asyncpg.Pool, maintenance: Maintenance) -> None:
        self.pool = pool
        self.maintenance = maintenance

    async def round(self) -> None:
        """Delete the rows of deleted collections, then build missing indexes."""
        await self.remove()
        while await self.index():
            pass

    async def index(self, *, quiet_s: float = vector_index.QUIET_S) -> bool:
        """Build the indexes of one collection; return whether one was built."""
        with database():
            collection = await vector_index.claim(self.pool, lease_s=LEASE_S, quiet_s=quiet_s)
            if collection is None:
                return False

            async def renew() -> None:
                with database():
                    await vector_index.renew_lease(self.pool, collection.id, lease_s=LEASE_S)

            lease = renewing(renew, lease_s=lambda: LEASE_S, what=f"the indexing lease of collection {collection.id}")
            async with lease, self.maintenance() as connection:
                built = await vector_index.build(connection, collection)
        log.info(
            "collection %d: indexes over %d vectors were %s",
            collection.id,
            collection.vectors,
            "built" if built else "not built",
        )
        return built

    async def remove(self) -> None:
        """Delete the rows of deleted collections in small steps. Several gateways may do so at once."""
        with database():
            for collection_id in await store.deleted_collections(self.pool, limit=COLLECTIONS_A_ROUND):
                async with self.maintenance() as connection:
                    await vector_index.drop(connection, collection_id)
                while await store.remove_rows(self.pool, collection_id, most=ROWS_AT_ONCE):
                    pass
                await store.delete_row(self.pool, collection_id)
