"""A partition of usage events for each month, made before the month begins."""

from __future__ import annotations

from datetime import date

from .query import Session


def month_after(month: date) -> date:
    """The first day of the next month."""
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


async def ensure_partitions(connection: Session, *, months: int = 3) -> list[str]:
    """Make the partitions of this month and the next ones; return the names that were made.

    The default partition catches what this missed, so nothing depends on it but speed.
    Names are built from dates, never from input.
    """
    today = await connection.fetchval("select (now() at time zone 'UTC')::date")
    month = today.replace(day=1)
    made = []
    for _ in range(months):
        name = f"usage_event_{month:%Y_%m}"
        following = month_after(month)
        async with connection.transaction():
            await connection.execute("select pg_advisory_xact_lock(hashtext('kaixu.partitions'))")
            if await connection.fetchval(
                "select to_regclass($1)", f"kaixu.{name}"
            ) is None and not await connection.fetchval(
                "select exists (select from kaixu.usage_event_other where month = $1)", month
            ):
                await connection.execute(
                    f"create table kaixu.{name} partition of kaixu.usage_event "
                    f"for values from ('{month}') to ('{following}')"
                )
                made.append(name)
        month = following
    return made
