"""Reads the station's month and what its brain answered; while the database is away there are no figures."""

from __future__ import annotations

from datetime import UTC, date, datetime

import asyncpg
import msgspec

from kaixu.config.station import Station
from kaixu.plugin.errors import DatabaseAway, StatementTooSlow
from kaixu.store.pool import database
from kaixu.store.remote_checks import BRAIN, RemoteCheck, remote_checks

from .station import NOTHING, StationMonth, station_month


class StationSnapshot(msgspec.Struct, frozen=True):
    """A month and the brain. `is_ready`: the database answered."""

    month: StationMonth
    brain: RemoteCheck | None
    is_ready: bool


async def station_snapshot(
    pool: asyncpg.Pool,
    station: Station,
    month: date | None,
    *,
    with_remote: bool = False,
    only_totals: bool = False,
) -> StationSnapshot:
    """A month, by default the current one. `with_remote`: with what the brain answered; `only_totals`: no lists."""
    try:
        found = await station_month(pool, month, only_totals=only_totals)
        return StationSnapshot(found, await brain_check(pool, station, with_remote=with_remote), is_ready=True)
    except StatementTooSlow:
        raise
    except DatabaseAway:
        return no_snapshot(month)


def no_snapshot(month: date | None) -> StationSnapshot:
    """What is shown while the database does not answer."""
    first = datetime.now(UTC).date().replace(day=1)
    return StationSnapshot(StationMonth(month or first, NOTHING), None, is_ready=False)


async def brain_check(pool: asyncpg.Pool, station: Station, *, with_remote: bool) -> RemoteCheck | None:
    """What the last look at the brain found. Raises `DatabaseAway`."""
    if station.brain.url is None:
        return None
    with database():
        checks = await remote_checks(pool, [(BRAIN, station.brain.url)], with_remote=with_remote)
    return checks.get(BRAIN)
