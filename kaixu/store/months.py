"""Months by the database's clock."""

from __future__ import annotations

from datetime import date

from .query import Connection


async def this_month(db: Connection) -> date:
    """The first day of the current month in UTC. Admission uses the same clock."""
    month: date = await db.fetchval("select date_trunc('month', now() at time zone 'UTC')::date")
    return month
