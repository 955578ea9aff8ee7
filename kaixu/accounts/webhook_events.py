"""Events that webhooks of integrations have brought, as operators see them, and handling one again."""

from __future__ import annotations

import asyncpg

from kaixu.plugin.errors import Conflict, NotFound
from kaixu.store import webhook_events as store
from kaixu.store.audit import AuditEvent, write_audit
from kaixu.store.pool import database
from kaixu.store.webhook_events import EventRow as EventRow  # for commands, which must not import the store


async def list_webhook_events(
    pool: asyncpg.Pool, *, integration: str | None, status: str | None, limit: int
) -> list[EventRow]:
    """The newest events, without their bodies. Raises `DatabaseAway`."""
    with database():
        return await store.list_events(pool, integration=integration, status=status, limit=limit)


async def find_webhook_event(pool: asyncpg.Pool, integration: str, event_id: str) -> EventRow:
    """One event. Raises `NotFound`, `DatabaseAway`."""
    with database():
        row = await store.find_event(pool, integration, event_id)
    if row is None:
        raise NotFound(f"integration `{integration[:60]}` has received no event `{event_id[:100]}`")
    return row


async def retry_webhook_event(
    pool: asyncpg.Pool, integration: str, event_id: str, *, actor: str, request_id: str
) -> None:
    """Handle an event again whose handler has failed. Raises `NotFound`, and `Conflict` where it has not failed."""
    row = await find_webhook_event(pool, integration, event_id)
    with database():
        async with pool.acquire() as connection, connection.transaction():
            if not await store.handle_again(connection, row.job_id):
                raise Conflict(
                    f"event `{event_id[:100]}` cannot be handled again",
                    hint="It was handled, still waits, or its body was removed: see `kaixu webhooks show`.",
                    code="WEBHOOK_NOT_FAILED",
                )
            target = f"webhook:{integration}/{event_id}"
            await write_audit(connection, AuditEvent(actor, "WEBHOOK_RETRY", target, request_id))
