"""The job that looks whether a push has landed whose own job could not say so: then it is billed, else it failed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from kaixu.plugin import Again, Call, FailedCall, Free, Job, Retry

from .landing import find_landed
from .push_job import LastLook, PushEnd, end_with_error, finish
from .push_rows import PushRow, row_of
from .refusals import RateLimited

#: How long GitHub's limits are waited for.
LONGEST = timedelta(days=1)

ROW = "select * from push where job_id = $1 and customer_id = $2 and queue_id = $3 and status = 'queued'"


async def look(call: Call[LastLook]) -> PushEnd:
    """Look for the noted commit. Raises what prevents it, and `Again` where GitHub wants a pause."""
    async with call.db() as db:
        found = await db.fetchrow(ROW, call.body.job_id, call.customer_id, call.body.queue_id)
        now = await db.fetchval("select now()")
    if found is None:  # it has ended, or goes on: somebody has completed it again
        return PushEnd("gone")
    row: PushRow = row_of({name: value for name, value in found.items() if name != "key_id"})
    try:
        landed = await find_landed(call, row)
    except RateLimited as limit:
        if now - row.updated_at > LONGEST:
            raise
        raise Again(limit.retry_after_s or 60) from None
    if landed is not None:
        await finish(call, row, landed)
        return PushEnd("done", landed.commit, landed.url)
    async with call.db() as db:
        await end_with_error(db, row.id, row.error_code or "INTERNAL", row.error or "The push failed.")
    return PushEnd("error")


async def not_seen(call: FailedCall[LastLook]) -> None:
    """Nobody can say whether it has landed: it has failed, for the reason that was noted, and costs nothing."""
    async with call.db() as db:
        row = await db.fetchrow(f"{ROW} for update", call.body.job_id, call.customer_id, call.body.queue_id)
        if row is not None:
            await end_with_error(db, row["id"], row["error_code"] or call.error, row["error"] or "The push failed.")


JOBS: Sequence[Job] = [
    Job(
        "github.look", look, LastLook, Free("billed when the commit is on the branch"),
        retry=Retry(attempts=8, first_wait_s=1, most_wait_s=300), timeout_s=240, on_failed=not_seen, admission="none",
    )
]  # fmt: skip
