"""The database's clock, which admission uses."""

from __future__ import annotations

from datetime import date, datetime

from .query import Connection


async def now(db: Connection) -> datetime:
    """The database's time, by its cheapest query."""
    moment: datetime = await db.fetchval("select now()")
    return moment


async def this_month(db: Connection) -> date:
    """The first day of the current month in UTC, by the database's clock."""
    month: date = await db.fetchval("select date_trunc('month', now() at time zone 'UTC')::date")
    return month
