"""What a report reads: one snapshot of the database, with memory for sums over many customers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from kaixu.store.pool import database
from kaixu.store.query import DatabaseSession

#: Sums by customer of a month of 100,000 customers fit; Postgres's own default writes them to disk.
WORK_MEMORY = "64MB"


@asynccontextmanager
async def report_snapshot(pool: asyncpg.Pool) -> AsyncIterator[DatabaseSession]:
    """A read-only transaction in which all statements see the same rows, although calls go on.

    Raises `DatabaseAway`.
    """
    with database():
        async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
            # Without workers: they would take the processors from calls, and a report is hardly faster with them.
            await connection.execute(
                f"set local work_mem = '{WORK_MEMORY}'; set local max_parallel_workers_per_gather = 0"
            )
            yield connection
