"""An operator removes old monitor events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import asyncpg

from kaixu.store.audit import AuditEvent, write_audit
from kaixu.store.monitor_removal import EventRemoval
from kaixu.store.pool import database


async def prune_monitor(
    pool: asyncpg.Pool, removal: EventRemoval, *, days: int, actor: str, request_id: str | None
) -> int:
    """Remove the monitor events that are older than `days`; return how many. Raises `DatabaseAway`, `Unavailable`."""
    removed = await removal.remove(datetime.now(UTC) - timedelta(days=days))
    with database():
        meta = {"days": days, "removed": removed}
        await write_audit(pool, AuditEvent(actor, "MONITOR_PRUNE", "monitor", request_id, meta=meta))
    return removed
