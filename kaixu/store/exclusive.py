"""Long work that one process at a time does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg


@asynccontextmanager
async def exclusively(pool: asyncpg.Pool, name: str) -> AsyncIterator[bool]:
    """Whether nobody else is in such a block with this name; until its end, if so.

    The lock belongs to a transaction of one of the pool's connections, which stands idle meanwhile. A lock of the
    session would stay with a pooler's connection after its gateway has gone.
    """
    async with pool.acquire() as connection, connection.transaction():
        is_alone: bool = await connection.fetchval("select pg_try_advisory_xact_lock(hashtext($1))", name)
        # A simple statement also closes the portal of the one before it, and with it the snapshot: `create index
        # concurrently` would wait for it.
        await connection.execute("set local idle_in_transaction_session_timeout = 0")
        yield is_alone
