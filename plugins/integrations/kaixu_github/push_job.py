"""The jobs of pushes: one makes the commit and sends it, one ends uploads that nobody completes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from kaixu.plugin import Again, Call, Database, FailedCall, Failure, Free, Job, KaixuError, Retry

from .landing import Landed, land
from .push_rows import PushRow, note_event, row_of
from .refusals import RateLimited

#: Ends of a job after which nobody knows whether its commit was sent, and how often it is enqueued again then.
MAY_HAVE_LANDED = frozenset({"JOB_LOST", "JOB_EXPIRED", "OPERATION_TIMEOUT"})
MOST_LOSSES = 5

WORDS = {
    "JOB_CANCELLED": "The push was cancelled.",
    "JOB_LOST": "The gateway was stopped while it pushed, several times. Push again.",
    "JOB_EXPIRED": "The push did not end in time. Push again.",
    "UNAUTHENTICATED": "The key was revoked before the push ran.",
    "KEY_REVOKED": "The key was revoked before the push ran.",
    "CUSTOMER_DISABLED": "The account was switched off before the push ran.",
    "OPERATION_TIMEOUT": "The push took too long.",
}


class PushJob(msgspec.Struct):
    """Which push."""

    job_id: str


class Expiry(msgspec.Struct):
    """Which upload."""

    job_id: str


class LastLook(msgspec.Struct):
    """Which push, and which job of it has ended."""

    job_id: str
    queue_id: UUID


class PushEnd(msgspec.Struct):
    """How a push has ended."""

    status: str
    commit: str | None = None
    url: str | None = None


def queue_key(job_id: str, losses: int) -> str:
    """The key of a push's job; each time that its workers are lost, it has another one."""
    return f"{job_id}:{losses}" if losses else job_id


async def push(call: Call[PushJob]) -> PushEnd:
    """Make the commit of a push and send it. It ends as `done` or `error`, or runs again."""
    row = await started(call)
    if row is None:
        return PushEnd("gone")
    if row.status != "queued":
        return PushEnd(row.status, row.commit, row.url)
    try:
        landed = await land(call, row)
    except RateLimited as limit:
        await wait_for_limit(call, row, limit)
        raise Again(limit.retry_after_s or 60) from None
    except KaixuError as error:
        is_last = call.attempt >= call.options.attempts
        if error.status >= 500 and is_last and await may_have_landed(call, row, error.code, error_text(error)):
            return PushEnd("running")
        await noted_failure(call, row, error.code, error_text(error), is_final=error.status < 500 or is_last)
        raise
    await finish(call, row, landed)
    return PushEnd("done", landed.commit, landed.url)


async def started(call: Call[PushJob]) -> PushRow | None:
    """Note the attempt."""
    async with call.db() as db:
        row = await db.fetchrow(
            "update push set attempts = greatest(attempts, $3), updated_at = now()"
            " where job_id = $1 and customer_id = $2 returning *",
            call.body.job_id,
            call.customer_id,
            call.attempt,
        )
    return None if row is None else row_of({name: value for name, value in row.items() if name != "key_id"})


async def wait_for_limit(call: Call[PushJob], row: PushRow, limit: RateLimited) -> None:
    """Note that GitHub wants a pause. One too many ends the push. Raises `Failure` then."""
    if row.limits >= call.options.most_limits:
        text = "GitHub's limits were reached again and again"
        await noted_failure(call, row, limit.code, text, is_final=True)
        raise Failure(429, limit.code, text)
    async with call.db() as db:
        await db.execute(
            "update push set limits = limits + 1, error_code = $2, error = $3, error_at = now(), updated_at = now()"
            " where id = $1 and status = 'queued'",
            row.id,
            limit.code,
            f"{limit.message}; the push goes on in {limit.retry_after_s} s",
        )


async def may_have_landed(call: Call[PushJob], row: PushRow, code: str, text: str) -> bool:
    """Whether the last attempt has sent a commit, or may have: then a job looks for it before the push has failed."""
    async with call.db() as db:
        now = await db.fetchrow("select planned_commit, queue_id from push where id = $1 for update", row.id)
        if now is None or now["planned_commit"] is None or now["queue_id"] is None:
            return False
        await look_later(db, row.id, LastLook(row.job_id, now["queue_id"]), code, text)
    return True


async def look_later(db: Database, push_id: int, look: LastLook, code: str, text: str) -> None:
    """Note why a push has failed, if it has: a job looks whether its commit is there all the same."""
    await db.execute(
        "update push set error_code = $2, error = $3, error_at = now(), updated_at = now() where id = $1",
        push_id, code, text[:1000],
    )  # fmt: skip
    await db.enqueue("github.look", look, key=look.job_id)


async def noted_failure(call: Call[PushJob], row: PushRow, code: str, text: str, *, is_final: bool) -> None:
    """Note why an attempt has failed; the last one ends the push."""
    async with call.db() as db:
        if is_final:
            await end_with_error(db, row.id, code, text)
        else:
            await db.execute(
                "update push set error_code = $2, error = $3, error_at = now(), updated_at = now()"
                " where id = $1 and status = 'queued'",
                row.id,
                code,
                text,
            )


async def end_with_error(
    db: Database, push_id: int, code: str, text: str, *, customer_id: int | None = None
) -> PushRow | None:
    """End a push that has not ended: its parts go, and nothing is charged. `customer_id`: of another customer."""
    row = await db.fetchrow(
        "update push set status = 'error', error_code = $2, error = $3, error_at = now(), updated_at = now()"
        " where id = $1 and status in ('uploading', 'queued') returning *",
        push_id,
        code,
        text[:1000],
    )
    if row is None:
        return None
    ended = row_of({name: value for name, value in row.items() if name != "key_id"})
    await note_event(db, ended, "error", code=code)
    await db.release("push", key=ended.job_id, customer_id=customer_id)
    await db.release("gib", key=ended.job_id, customer_id=customer_id)
    await put_away(db, ended, customer_id=customer_id)
    return ended


async def finish(call: Call[Any], row: PushRow, landed: Landed) -> None:
    """The commit is on the branch, or nothing had changed: say so, and bill it once."""
    async with call.db() as db:
        changed = await db.fetchval(
            "update push set status = 'done', \"commit\" = $2, url = $3, pull_request_url = $4, is_unchanged = $5,"
            " files = $6, error = null, error_code = null, updated_at = now()"
            " where id = $1 and status = 'queued' returning id",
            row.id,
            landed.commit,
            landed.url,
            landed.pull_request_url,
            landed.is_unchanged,
            landed.files,
        )
        if changed is not None:
            meta = {"files": landed.files, "commit": landed.commit, "url": landed.url}
            await note_event(db, row, "done", landed.bytes, **meta)
        for charge, units in (("push", 1), ("gib", row.bytes_staged)):
            if landed.is_unchanged:
                await db.release(charge, key=row.job_id)
            else:
                await db.charge(charge, key=row.job_id, units=units)
        await put_away(db, row)


async def put_away(db: Database, row: PushRow, *, customer_id: int | None = None) -> None:
    """Remove what an ended push does not need any more."""
    await db.execute("delete from push_object where push_id = $1", row.id)
    await db.drop(row.prefix, customer_id=customer_id)


async def push_failed(call: FailedCall[PushJob]) -> None:
    """The job ended without success: what it could not say itself.

    A worker that was lost may have pushed all the same: then another job looks for the noted commit, and goes on, or
    only looks for it where the push may not go on.
    """
    async with call.db() as db:
        row = await db.fetchrow(
            "select id, error, status, planned_commit, losses, queue_id from push"
            " where job_id = $1 and customer_id = $2 for update",
            call.body.job_id,
            call.customer_id,
        )
        if row is None or row["status"] != "queued" or row["queue_id"] != call.job_id:
            return
        if call.error in MAY_HAVE_LANDED and row["planned_commit"] is not None and row["losses"] < MOST_LOSSES:
            queue_id = await db.enqueue("github.push", call.body, key=queue_key(call.body.job_id, row["losses"] + 1))
            await db.execute("update push set losses = losses + 1, queue_id = $2 where id = $1", row["id"], queue_id)
            return
        text = WORDS.get(call.error) or row["error"] or f"The push failed ({call.error})."
        if row["planned_commit"] is not None:
            await look_later(db, row["id"], LastLook(call.body.job_id, call.job_id), call.error, text)
        else:
            await end_with_error(db, row["id"], call.error, text)


async def expire(call: Call[Expiry]) -> PushEnd:
    """End an upload that has rested too long. One that went on meanwhile is looked at again later."""
    async with call.db() as db:
        row = await upload_of(db, call.body.job_id, call.customer_id)
        if row is None or row["status"] != "uploading":
            return PushEnd("gone" if row is None else row["status"])
        rest = row["updated_at"] + timedelta(hours=call.options.retention_hours) - datetime.now(UTC)
        if rest > timedelta(0):
            raise Again(max(1.0, rest.total_seconds()))
        await end_as_expired(db, row["id"])
    return PushEnd("error")


async def expiry_failed(call: FailedCall[Expiry]) -> None:
    """The key of an upload was revoked, or its expiry was cancelled: it has no other end."""
    async with call.db() as db:
        row = await upload_of(db, call.body.job_id, call.customer_id)
        if row is not None and row["status"] == "uploading":
            await end_as_expired(db, row["id"])


async def upload_of(db: Database, job_id: str, customer_id: int | None) -> Any:
    """The row of an upload, locked."""
    return await db.fetchrow(
        "select id, status, updated_at from push where job_id = $1 and customer_id = $2 for update",
        job_id,
        customer_id,
    )


async def end_as_expired(db: Database, push_id: int, *, customer_id: int | None = None) -> PushRow | None:
    """End an upload that was never completed."""
    text = "The upload expired: it was not completed in time. Push again."
    return await end_with_error(db, push_id, "EXPIRED", text, customer_id=customer_id)


def error_text(error: KaixuError) -> str:
    """What a client reads of an error."""
    return error.message if error.hint is None else f"{error.message}. {error.hint}"


FREE = Free("billed when the commit is on the branch")

JOBS: Sequence[Job] = [
    Job(
        "github.push", push, PushJob, FREE, retry=Retry(attempts=10, first_wait_s=1, most_wait_s=60),
        timeout_s=1200, on_failed=push_failed, at_once=5,
    ),
    Job("github.expire", expire, Expiry, FREE, timeout_s=60, on_failed=expiry_failed, admission="none"),
]  # fmt: skip
