"""Whether the database answers."""

from __future__ import annotations

from datetime import datetime

import asyncpg

from kaixu.store import clock
from kaixu.store.pool import database


async def database_time(pool: asyncpg.Pool) -> datetime:
    """The database's clock. Raises `DatabaseAway`."""
    with database():
        return await clock.now(pool)
