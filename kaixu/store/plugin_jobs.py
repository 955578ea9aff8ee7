"""What an integration does with jobs: noted here by the gateway, and done by the integration's own role."""

from __future__ import annotations

from uuid import UUID, uuid4

import asyncpg

from .jobs import NewJob
from .pool import database
from .query import Connection
from .webhook_events import NewEvent

INSERT = """
    with forgotten as (
        delete from kaixu.plugin_job
         where made_at not between clock_timestamp() - interval '5 minutes' and clock_timestamp() + interval '5 minutes'
    )
    insert into kaixu.plugin_job (id, integration, kind, customer_id, key_id, install_id, request_id, payload, provider,
                                  model, most_attempts, delay_s, idempotency_key, app_id, build_id, serial,
                                  at_once, reports_failure, event_id, event_webhook, event_type, event_object,
                                  occurred_at, blobs)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22,
            $23, $24)
"""


async def store_plugin_job(pool: asyncpg.Pool, integration: str, job: NewJob, event: NewEvent | None = None) -> None:
    """Let the integration's role submit `job` once, within a minute; `event`: the one that it handles.

    Raises `DatabaseAway`.
    """
    with database():
        await pool.execute(
            INSERT,
            job.id,
            integration,
            job.kind,
            job.customer_id,
            job.key_id,
            job.install_id,
            job.request_id,
            job.payload,
            job.provider,
            job.model,
            job.most_attempts,
            float(job.run_after_s),
            job.unique_key,
            job.app_id,
            job.build_id,
            job.serial,
            job.at_once,
            job.reports_failure,
            None if event is None else event.event_id,
            None if event is None else event.webhook,
            None if event is None else event.type,
            None if event is None else event.object,
            None if event is None else event.occurred_at,
            list(job.blobs),
        )


ACCESS = """
    with forgotten as (
        delete from kaixu.plugin_job_access
         where made_at not between clock_timestamp() - interval '5 minutes' and clock_timestamp() + interval '5 minutes'
    )
    insert into kaixu.plugin_job_access (id, integration, job_id, customer_id) values ($1, $2, $3, $4)
"""


async def allow_job_access(pool: asyncpg.Pool, integration: str, job_id: UUID, customer_id: int | None) -> UUID:
    """Let the integration's role read or cancel a job once, within a minute; the note's id. Raises `DatabaseAway`."""
    access_id = uuid4()
    with database():
        await pool.execute(ACCESS, access_id, integration, job_id, customer_id)
    return access_id


async def unended_job(db: Connection, kind: str, key: str, customer_id: int | None) -> UUID | None:
    """The job with this key of this customer, or of none, that has not ended. Raises `DatabaseAway`."""
    with database():
        found: UUID | None = await db.fetchval(
            """
            select j.id
              from kaixu.job j
             where j.account = coalesce($1, 0) and j.kind = $2 and j.unique_key = $3 and j.completed_at is null
            """,
            customer_id,
            kind,
            key,
        )
    return found
