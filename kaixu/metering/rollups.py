"""Keeps the roll-ups of usage up to date, in the background."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import asyncpg

from kaixu.store.rollups import fill_usage, fold_usage, rollup_state, set_reporting_zone

log = logging.getLogger(__name__)

#: Rows that one statement moves: 20 to 70 µs each, depending on how many belong to the same series.
MOST_ROWS = 5000

#: Statements in one round that move what calls have noted.
MOST_FOLDS = 100

#: Events that one statement fills in, and such statements in one round: some 4 s of work, before the pause of a round.
MOST_EVENTS = 5000
MOST_FILLS = 20


class UsageRollups:
    """Moves what settlements have noted into the roll-ups. Any number of processes may run it; one at a time works.

    `zone` is the configured reporting zone; this process applies it at its start and when a reload has changed it.
    `maintenance` opens a connection for long work: making the days of another zone may take minutes.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        zone: Callable[[], str],
        maintenance: Callable[[], AbstractAsyncContextManager[asyncpg.Connection]],
    ) -> None:
        self.pool = pool
        self.zone = zone
        self.maintenance = maintenance
        self.applied_zone: str | None = None

    async def round(self) -> None:
        """Do all that there is to do now. Raises `DatabaseAway`."""
        await self.apply_zone()
        for _ in range(MOST_FOLDS):
            if (await fold_usage(self.pool, most=MOST_ROWS) or 0) < MOST_ROWS:
                break
        for _ in range(MOST_FILLS):
            if not await fill_usage(self.pool, most=MOST_EVENTS):
                break
            await fold_usage(self.pool, most=MOST_ROWS)

    async def apply_zone(self) -> None:
        """Make the days again if the reporting zone has changed."""
        zone = self.zone()
        if zone == self.applied_zone:
            return
        if (await rollup_state(self.pool)).reporting_zone != zone:
            async with self.maintenance() as connection:
                try:
                    if await set_reporting_zone(connection, zone):
                        log.warning("days of reports are now those of %s", zone)
                except asyncpg.InvalidParameterValueError:
                    log.error("the database does not know the time zone %s: days of reports stay as they are", zone)
        self.applied_zone = zone
