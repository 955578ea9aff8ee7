"""Jobs for operators, without their texts."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from kaixu.accounts.jobs import no_job
from kaixu.config.price import usd
from kaixu.store import job_rows as store
from kaixu.store.job_rows import STATUSES, JobRow
from kaixu.store.pool import database
from kaixu.store.query import Query

__all__ = ["STATUSES", "JobRow", "find_job", "job_details_json", "job_json", "list_jobs"]

#: How many waiting jobs are counted: counting more would take long.
MAX_COUNTED = 100_000


class CountRow(msgspec.Struct, frozen=True):
    """A number of rows."""

    count: int


WAITING_JOBS = Query(
    CountRow,
    """
    select count(*) as count
      from (select 1 from kaixu.job j where j.status = 'queued' limit $1) waiting
    """,
)


async def list_jobs(pool: asyncpg.Pool, *, customer_id: int | None, status: str | None, limit: int) -> list[JobRow]:
    """The newest jobs of a customer, or of all."""
    with database():
        return await store.list_jobs(pool, customer_id=customer_id, status=status, limit=limit)


async def find_job(pool: asyncpg.Pool, job_id: UUID) -> JobRow:
    """One job. Raises `NotFound`."""
    with database():
        row = await store.find_job(pool, job_id, customer_id=None)
    if row is None:
        raise no_job(job_id)
    return row


async def count_waiting_jobs(pool: asyncpg.Pool) -> int:
    """How many jobs of all customers wait, at most `MAX_COUNTED`. Raises `DatabaseAway`."""
    with database():
        row = await WAITING_JOBS.one(pool, MAX_COUNTED)
    return 0 if row is None else row.count


def job_json(job: JobRow) -> dict[str, Any]:
    """A job in a list."""
    return {
        "id": str(job.id),
        "kind": job.kind,
        "customer": job.customer_id,
        "status": job.status,
        "model": job.model,
        "created_at": job.created_at.isoformat(timespec="seconds"),
        "completed_at": None if job.completed_at is None else job.completed_at.isoformat(timespec="seconds"),
        "cost_usd": usd(job.cost_nusd),
        "error": job.error_code,
        "request_id": job.request_id,
    }


def job_details_json(job: JobRow) -> dict[str, Any]:
    """One job in detail."""
    return job_json(job) | {"attempts": job.attempts, "losses": job.losses, "message": job.error_message}
