"""Events that webhooks of integrations have brought: stored once, listed, handled again, removed."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from .jobs import NewJob
from .pruning import delete_in_batches
from .query import Connection, Query

ROWS_AT_ONCE = 1000


class NewEvent(msgspec.Struct, frozen=True):
    """An event to be stored. `job`: the one that handles it; its `provider` is the integration."""

    webhook: str
    event_id: str
    type: str
    object: str | None
    occurred_at: datetime | None
    job: NewJob


class StoredEvent(msgspec.Struct, frozen=True):
    """Whether an event was new."""

    is_new: bool


class EventRow(msgspec.Struct, frozen=True):
    """An event as operators see it. `status`: that of its job; None: the job was removed. `payload` is sealed."""

    integration: str
    event_id: str
    webhook: str
    type: str
    object: str | None
    occurred_at: datetime | None
    received_at: datetime
    job_id: UUID
    status: str | None
    attempts: int | None
    error_code: str | None
    error_message: str | None
    payload: bytes | None


STORE = Query(
    StoredEvent,
    """
    select kaixu.store_webhook_event(
               p_integration => $1, p_webhook => $2, p_event_id => $3, p_type => $4, p_object => $5,
               p_occurred_at => $6, p_job_id => $7, p_kind => $8, p_request_id => $9, p_payload => $10,
               p_most_attempts => $11) as is_new
    """,
)


async def store_event(db: Connection, event: NewEvent) -> bool:
    """Store an event and its job in one statement; whether it was new."""
    job = event.job
    row = await STORE.one(
        db,
        job.provider,
        event.webhook,
        event.event_id,
        event.type,
        event.object,
        event.occurred_at,
        job.id,
        job.kind,
        job.request_id,
        job.payload,
        job.most_attempts,
    )
    return row is not None and row.is_new


LISTED = Query(
    EventRow,
    """
    select e.integration, e.event_id, e.webhook, e.type, e.object, e.occurred_at, e.received_at, e.job_id,
           case when j.status = 'queued' then coalesce(j.pause, 'queued') else j.status end as status,
           j.attempts, j.error_code, j.error_message, null::bytea as payload
      from kaixu.webhook_event e
      left join kaixu.job j on j.id = e.job_id
     where ($1::text is null or e.integration = $1)
       and ($2::text is null or case when j.status = 'queued' then coalesce(j.pause, 'queued') else j.status end = $2)
     order by e.received_at desc, e.event_id
     limit $3
    """,
)

FIND = Query(
    EventRow,
    """
    select e.integration, e.event_id, e.webhook, e.type, e.object, e.occurred_at, e.received_at, e.job_id,
           case when j.status = 'queued' then coalesce(j.pause, 'queued') else j.status end as status,
           j.attempts, j.error_code, j.error_message, j.payload
      from kaixu.webhook_event e
      left join kaixu.job j on j.id = e.job_id
     where e.integration = $1 and e.event_id = $2
    """,
)


async def list_events(db: Connection, *, integration: str | None, status: str | None, limit: int) -> list[EventRow]:
    """The newest events, without their bodies."""
    return await LISTED.all(db, integration, status, limit)


async def find_event(db: Connection, integration: str, event_id: str) -> EventRow | None:
    """One event, with its body as long as its job is kept."""
    return await FIND.one(db, integration, event_id)


async def handle_again(db: Connection, job_id: UUID) -> bool:
    """Queue the job of an event again that has failed or was cancelled; False: it has not, or is gone.

    It keeps its place among the events of its object.
    """
    return (
        await db.fetchval(
            """
            update kaixu.job
               set status = 'queued', attempts = 0, losses = 0, run_after = clock_timestamp(), completed_at = null,
                   cancel_asked = false, error_code = null, error_message = null, pause = null, ticket = null,
                   created_at = clock_timestamp()
             where id = $1 and status in ('failed', 'cancelled')
            returning true
            """,
            job_id,
        )
        is not None
    )


async def prune_events(db: Connection, *, days: int) -> int:
    """Forget events this old whose job was removed; return how many. Later copies of them would be handled again."""
    return await delete_in_batches(db, PRUNE, days, ROWS_AT_ONCE, at_once=ROWS_AT_ONCE)


PRUNE = """
    delete from kaixu.webhook_event
     where (integration, event_id) in (
        select e.integration, e.event_id
          from kaixu.webhook_event e
         where e.received_at < now() - make_interval(days => $1)
           and not exists (select from kaixu.job j where j.id = e.job_id)
         limit $2)
"""
