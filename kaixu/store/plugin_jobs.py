"""Jobs that an integration submits: written here by the gateway, moved to the queue by the integration's role."""

from __future__ import annotations

import asyncpg

from .jobs import NewJob
from .pool import database

INSERT = """
    with forgotten as (
        delete from kaixu.plugin_job
         where made_at not between clock_timestamp() - interval '5 minutes' and clock_timestamp() + interval '5 minutes'
    )
    insert into kaixu.plugin_job (id, integration, kind, customer_id, key_id, install_id, request_id, payload, provider,
                                  model, most_attempts, delay_s, idempotency_key, app_id, build_id)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
"""


async def store_plugin_job(pool: asyncpg.Pool, integration: str, job: NewJob) -> None:
    """Let the integration's role submit `job` once, within a minute. Raises `DatabaseAway`."""
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
            job.idempotency_key,
            job.app_id,
            job.build_id,
        )
