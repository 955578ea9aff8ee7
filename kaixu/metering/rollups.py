"""Keeps the roll-ups of usage up to date, in the background."""

from __future__ import annotations

import logging
from collections.abc import Callable

import asyncpg

from kaixu.store.query import Connection
from kaixu.store.rollups import fill_usage, fold_usage, set_reporting_zone

log = logging.getLogger(__name__)

#: Rows that one statement moves: it takes about a tenth of a second.
MOST_ROWS = 5000
MOST_EVENTS = 5000

#: Statements in one round: the next round follows soon.
MOST_STATEMENTS = 100


class UsageRollups:
    """Moves what settlements have noted into the roll-ups. Any number of processes may run it; one at a time works.

    `zone` is the configured reporting zone; this process applies it at its start and when a reload has changed it.
    """

    def __init__(self, pool: asyncpg.Pool, zone: Callable[[], str]) -> None:
        self.pool = pool
        self.zone = zone
        self.applied_zone: str | None = None

    async def round(self) -> None:
        """Do all that there is to do now. Raises `DatabaseAway`."""
        async with self.pool.acquire() as connection:
            await self.apply_zone(connection)
            for _ in range(MOST_STATEMENTS):
                if (await fold_usage(connection, most=MOST_ROWS) or 0) < MOST_ROWS:
                    break
            for _ in range(MOST_STATEMENTS):
                if not await fill_usage(connection, most=MOST_EVENTS):
                    break
                await fold_usage(connection, most=MOST_ROWS)

    async def apply_zone(self, connection: Connection) -> None:
        """Make the days again if the reporting zone has changed."""
        zone = self.zone()
        if zone == self.applied_zone:
            return
        if await set_reporting_zone(connection, zone):
            log.warning("days of reports are now those of %s", zone)
        self.applied_zone = zone
