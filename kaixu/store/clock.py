"""The database's clock: admission goes by it."""

from __future__ import annotations

from datetime import date, datetime

from .query import Connection


async def now(db: Connection) -> datetime:
    """Its time. The cheapest question that a database can answer."""
    moment: datetime = await db.fetchval("select now()")
    return moment


async def this_month(db: Connection) -> date:
    """The first day of its current month, in UTC."""
    month: date = await db.fetchval("select date_trunc('month', now() at time zone 'UTC')::date")
    return month
