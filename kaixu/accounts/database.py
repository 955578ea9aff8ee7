"""Whether the database answers."""

from __future__ import annotations

from datetime import datetime

import asyncpg

from kaixu.store.pool import database
from kaixu.store.state import clock


async def database_time(pool: asyncpg.Pool) -> datetime:
    """The database's clock. Raises `DatabaseAway`."""
    with database():
        return await clock(pool)
