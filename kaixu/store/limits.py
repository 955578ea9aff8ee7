"""What limits have used: removing what none of them needs any more."""

from __future__ import annotations

from .query import Connection


async def prune_limit_use(db: Connection) -> int:
    """Remove the use of limits whose day and minute are over; return how many rows."""
    removed: int = await db.fetchval("select kaixu.prune_limit_use()")
    return removed
