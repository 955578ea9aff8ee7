"""What operators do about pushes of all customers: let those that wait run now, end uploads that nobody completes."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import msgspec

from kaixu.plugin import Call, Clamped, Free, Operation, Operator, Path, Query

from .push_job import end_as_expired, queue_key
from .push_rows import push_named
from .pushes import Completed, job_id_of
from .times import stamp

#: Uploads that one request ends.
MOST_EXPIRED = 1000


class Nothing(msgspec.Struct):
    """No input."""


class Limit(msgspec.Struct):
    limit: Annotated[int, Query(), Clamped(1, 25, default=15)]


class OnePush(msgspec.Struct):
    job_id: Annotated[str, Path("job_id", "jobId")] = ""


class Retried(msgspec.Struct):
    ok: bool
    scanned: int
    claimed: int
    triggered: int


class CleanedUp(msgspec.Struct):
    ok: bool
    retention_hours: float
    cutoff: str | None
    jobs_examined: int
    expired_jobs: int
    deleted_chunks: int


async def retry(call: Call[Limit]) -> Retried:
    """Let pushes that wait for their next attempt run now. They would without it, later."""
    async with call.db() as db:
        rows = await db.fetch(
            "select customer_id, job_id, losses from push where status = 'queued' order by updated_at limit $1",
            call.body.limit,
        )
        woken = 0
        for row in rows:
            key = queue_key(row["job_id"], row["losses"])
            woken += await db.wake("github.push", key=key, customer_id=row["customer_id"])
    return Retried(True, len(rows), woken, woken)


async def retry_one(call: Call[OnePush]) -> Completed:
    """Let one push of a customer run now."""
    async with call.db() as db:
        row = await push_named(db, call.customer_id, job_id_of(call.body.job_id))
        woken = await db.wake("github.push", key=queue_key(row.job_id, row.losses))
    return Completed(True, woken, row.job_id)


async def clean_up(call: Call[Nothing]) -> CleanedUp:
    """End uploads that nobody completes. A job of each one does it without being asked."""
    hours = call.options.retention_hours
    async with call.db() as db:
        cutoff = await db.fetchval("select now()") - timedelta(hours=hours)
        examined = await db.fetchval("select count(*) from push where status = 'uploading'")
        rows = await db.fetch(
            "select id, customer_id from push where status = 'uploading' and updated_at < $1 order by id limit $2"
            " for update skip locked",
            cutoff,
            MOST_EXPIRED,
        )
        chunks = await db.fetchval(
            "select count(*) from push_part where push_id = any($1)", [row["id"] for row in rows]
        )
        for row in rows:
            await end_as_expired(db, row["id"], customer_id=row["customer_id"])
    return CleanedUp(True, hours, stamp(cutoff), examined, len(rows), chunks)


FREE = Free("operators")

OPERATIONS = [
    *(
        Operation(
            f"github.admin-retry-{method.lower()}", retry, Limit, FREE, method=method, path="/admin/retry",
            aliases=["gh-job-retry"], auth=Operator(None),
        )
        for method in ("GET", "POST")
    ),
    *(
        Operation(
            f"github.admin-cleanup-{method.lower()}", clean_up, Nothing, FREE, method=method, path="/admin/cleanup",
            aliases=["gh-chunk-cleanup"], auth=Operator(None),
        )
        for method in ("GET", "POST")
    ),
    Operation(
        "github.admin-push-retry", retry_one, OnePush, FREE, path="/admin/pushes/{job_id}/retry", auth=Operator(),
    ),
]  # fmt: skip
