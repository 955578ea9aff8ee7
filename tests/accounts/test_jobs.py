"""An operator cancels a job of any customer, and the audit log says so."""

from __future__ import annotations

from uuid import UUID, uuid4

import asyncpg
import pytest

from kaixu.accounts.jobs import cancel_job
from kaixu.plugin.errors import NotFound
from tests.support.money import customer

from .conftest import By


async def job(pool: asyncpg.Pool, status: str) -> UUID:
    """A job in this state."""
    job_id = uuid4()
    await pool.execute(
        """
        insert into kaixu.job (id, kind, customer_id, request_id, status, payload, most_attempts, completed_at)
        values ($1, 'chat', $2, 'r', $3, '', 1, case when $3 = 'succeeded' then now() end)
        """,
        job_id,
        await customer(pool),
        status,
    )
    return job_id


@pytest.mark.parametrize(
    ("status", "after", "changes"),
    [
        ("queued", "cancelled", [("admin", {"status": "queued"}, {"status": "cancelled"})]),
        ("running", "running", [("admin", {"status": "running"}, {"status": "running"})]),
        ("succeeded", "succeeded", []),
    ],
)
async def test_a_cancelled_job_is_in_the_audit_log_once(
    pool: asyncpg.Pool, by: By, status: str, after: str, changes: list[object]
) -> None:
    job_id = await job(pool, status)
    assert await cancel_job(pool, job_id, **by) == after
    assert await cancel_job(pool, job_id, **by) == after
    rows = await pool.fetch("select actor, action, target, before, after from kaixu.audit_event")
    assert [(row["actor"], row["before"], row["after"]) for row in rows] == changes
    assert all((row["action"], row["target"]) == ("JOB_CANCEL", f"job:{job_id}") for row in rows)


async def test_a_job_that_is_not_there_is_not_found(pool: asyncpg.Pool, by: By) -> None:
    with pytest.raises(NotFound):
        await cancel_job(pool, uuid4(), **by)
    assert await pool.fetchval("select count(*) from kaixu.audit_event") == 0
