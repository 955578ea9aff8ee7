"""Creates a partition of usage events for each month before it begins."""

from __future__ import annotations

import logging
from datetime import date

import asyncpg

from .query import DatabaseSession

log = logging.getLogger(__name__)


def month_after(month: date) -> date:
    """The first day of the next month."""
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


async def ensure_partitions(connection: DatabaseSession, *, months: int = 3) -> list[str]:
    """Make the partitions of this month and the next ones; return the names that were made.

    The default partition catches what this missed, so nothing depends on it but speed; and
    calls never wait for it long: where the table is busy it is left for another time.
    Names are built from dates, never from input.
    """
    today = await connection.fetchval("select (now() at time zone 'UTC')::date")
    month = today.replace(day=1)
    made: list[str] = []
    for _ in range(months):
        name = f"usage_event_{month:%Y_%m}"
        following = month_after(month)
        try:
            made += await make_partition(connection, name, month, following)
        except asyncpg.LockNotAvailableError:
            log.warning("the table of usage events is busy; partition %s will be made later", name)
        month = following
    return made


async def make_partition(connection: DatabaseSession, name: str, month: date, following: date) -> list[str]:
    """Create one partition unless it exists; its name if it was created."""
    async with connection.transaction():
        await connection.execute("set local lock_timeout = '300ms'")
        await connection.execute("select pg_advisory_xact_lock(hashtext('kaixu.partitions'))")
        if await connection.fetchval("select to_regclass($1)", f"kaixu.{name}") is not None:
            return []
        if await connection.fetchval("select exists (select from kaixu.usage_event_other where month = $1)", month):
            return []
        await connection.execute(
            f"create table kaixu.{name} partition of kaixu.usage_event for values from ('{month}') to ('{following}')"
        )
    return [name]
