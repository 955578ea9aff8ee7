"""Jobs, as an operator changes them; every change with its audit event in one transaction."""

from __future__ import annotations

from uuid import UUID

import asyncpg

from kaixu.plugin.errors import NotFound
from kaixu.store import job_rows as store
from kaixu.store.audit import AuditEvent, write_audit
from kaixu.store.pool import database


async def cancel_job(pool: asyncpg.Pool, job_id: UUID, *, actor: str, request_id: str) -> str:
    """Cancel a job of any customer. Returns its status: "cancelled", "running" until its worker stops, or how it had
    ended before.

    Raises `NotFound`.
    """
    with database():
        async with pool.acquire() as connection, connection.transaction():
            before = await store.find_job(connection, job_id, customer_id=None)
            status = await store.cancel_job(connection, job_id, customer_id=None)
            if before is None or status is None:
                raise no_job(job_id)
            if before.is_unended and not before.cancel_asked:
                await write_audit(
                    connection,
                    AuditEvent(
                        actor,
                        "JOB_CANCEL",
                        f"job:{job_id}",
                        request_id,
                        {"status": before.status},
                        {"status": status},
                        {"customer_id": before.customer_id, "kind": before.kind},
                    ),
                )
    return status


def no_job(job_id: UUID) -> NotFound:
    """The error for a job that does not exist."""
    return NotFound(f"there is no job {job_id}")
