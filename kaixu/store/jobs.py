"""The queue of jobs: submitted, claimed, kept alive, ended. Their texts are sealed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Literal
from uuid import UUID

import msgspec

from .events import storable
from .query import Connection, Query

#: Lost workers after which a job fails: it may be what kills them.
MOST_LOSSES = 8


class NewJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job to be submitted. `payload` and `webhook` are sealed; `customer_id` is None for the gateway's own.

    `idempotency_key` is unique as long as the job is kept, `unique_key` until it ends. Of an integration's jobs with
    the same `serial` one runs at a time; `at_once` limits those of its customer and kind. `blobs`: those in the payload
    of an integration's job, which live as long as it.
    """

    id: UUID
    kind: str
    customer_id: int | None
    key_id: int | None
    install_id: str | None
    request_id: str
    payload: bytes
    provider: str | None = None
    model: str | None = None
    requested_provider: str | None = None
    requested_model: str | None = None
    most_attempts: int = 3
    run_after_s: float = 0.0  # seconds from now
    idempotency_key: str | None = None
    batch_id: UUID | None = None
    batch_line: int | None = None
    webhook: bytes | None = None
    app_id: str | None = None
    build_id: str | None = None
    traceparent: str | None = None
    unique_key: str | None = None
    serial: str | None = None
    at_once: int | None = None
    reports_failure: bool = False
    blobs: tuple[UUID, ...] = ()


class Inserted(msgspec.Struct, frozen=True):
    """The job that was inserted, or that had the key before."""

    id: UUID


class ClaimedJob(msgspec.Struct, frozen=True):
    """A job that a worker holds under `claim`. `old_ticket` is of an attempt whose worker was lost."""

    id: UUID
    claim: UUID
    kind: str
    customer_id: int | None
    key_id: int | None
    install_id: str | None
    request_id: str
    payload: bytes
    attempts: int
    most_attempts: int
    old_ticket: UUID | None
    batch_id: UUID | None
    created_at: datetime
    app_id: str | None = None
    build_id: str | None = None


class HeldClaim(msgspec.Struct, frozen=True):
    """A claim that is still valid, and whether its job is to be cancelled."""

    claim: UUID
    cancel_asked: bool


INSERT = Query(
    Inserted,
    """
    with made as (
        insert into kaixu.job (id, kind, customer_id, key_id, install_id, request_id, payload, provider, model,
                               requested_provider, requested_model, most_attempts, run_after, idempotency_key, batch_id,
                               batch_line, webhook, app_id, build_id,
                               traceparent, unique_key, serial_no, serial, at_once, reports_failure)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, clock_timestamp() + make_interval(secs => $13),
                $14, $15, $16, $17, $18, $19, $20, $21,
                case when $22::text is not null then nextval('kaixu.job_serial_no') end, $22, $23, $24)
        on conflict do nothing
        returning id
    )
    select id from made
     union all
    select j.id from kaixu.job j
     where j.account = coalesce($3, 0) and j.kind = $2 and j.idempotency_key = $14 and not exists (select from made)
     union all
    select j.id from kaixu.job j
     where j.account = coalesce($3, 0) and j.kind = $2 and j.unique_key = $21 and j.completed_at is null
       and not exists (select from made)
    """,
)


async def insert_job(db: Connection, job: NewJob) -> UUID:
    """Submit a job in the caller's transaction; return its id, or that of the job with the same key."""
    while True:  # another transaction may have inserted it, invisible to the statement that conflicted with it
        row = await INSERT.one(db, *INSERT.values(job, without=("blobs",), run_after="run_after_s"))
        if row is not None:
            return row.id


CLAIM = Query(
    ClaimedJob,
    """
    select id, claim, kind, customer_id, key_id, install_id, request_id, payload, attempts, most_attempts, old_ticket,
           batch_id, created_at, app_id, build_id
      from kaixu.claim_jobs_v2(p_owner => $1, p_kinds => $2, p_lease_s => $3, p_most => $4, p_most_losses => $5)
    """,
)


async def claim_jobs(
    db: Connection, *, owner: UUID, kinds: Sequence[str], lease_s: float, most: int
) -> list[ClaimedJob]:
    """Claim up to `most` jobs of these kinds; see schema/functions/claim_jobs_v2.sql."""
    return await CLAIM.all(db, owner, list(kinds), float(lease_s), most, MOST_LOSSES)


HEARTBEAT = Query(
    HeldClaim,
    """
    update kaixu.job j
       set leased_until = clock_timestamp() + make_interval(secs => $2), heartbeat_at = clock_timestamp()
     where j.id in (select x.id from kaixu.job x
                     where x.id = any ($3::uuid[]) and x.claim = any ($1::uuid[]) and x.status = 'running'
                       for update skip locked)
    returning j.claim, j.cancel_asked
    """,
)


async def heartbeat(db: Connection, jobs: Sequence[ClaimedJob], *, lease_s: float) -> list[HeldClaim]:
    """Renew the leases of running jobs. A job missing from the result is lost, or is being ended just now."""
    return await HEARTBEAT.all(db, [job.claim for job in jobs], float(lease_s), [job.id for job in jobs])


class RunningJob(msgspec.Struct, frozen=True):
    """A job whose claim is valid, and the trace that it belongs to."""

    traceparent: str | None


SET_TICKET = Query(
    RunningJob,
    """
    update kaixu.job set ticket = $3 where id = $1 and claim = $2 and status = 'running' returning traceparent
    """,
)


async def set_ticket(db: Connection, job: ClaimedJob, ticket: UUID) -> RunningJob | None:
    """Note the ticket of the running attempt; None if the claim is no longer valid."""
    return await SET_TICKET.one(db, job.id, job.claim, ticket)


#: Of a running job: it was woken meanwhile, see schema/functions/wake_job.sql.
WOKEN = "(pause is not null and not cancel_asked)"


async def succeed(
    db: Connection,
    job: ClaimedJob,
    *,
    result: bytes,
    output_len: int | None,
    ticket: UUID | None,
    month: date | None,
) -> bool:
    """End a job with its result, in the caller's transaction; whether the claim was still valid.

    One that was woken while it ran, by its pause, runs once more instead: it may have looked too early.
    """
    return (
        await db.fetchval(
            f"""
            update kaixu.job
               set status = case when {WOKEN} then 'queued' else 'succeeded' end,
                   result = case when not {WOKEN} then $3::bytea end,
                   output_len = case when not {WOKEN} then $4::integer end,
                   ticket = case when not {WOKEN} then $5::uuid end,
                   month = case when not {WOKEN} then $6::date end,
                   completed_at = case when not {WOKEN} then clock_timestamp() end,
                   run_after = case when {WOKEN} then clock_timestamp() else run_after end, pause = null,
                   claim = null, owner = null, leased_until = null, error_code = null, error_message = null,
                   webhook_after = case when webhook is not null and not {WOKEN} then clock_timestamp() end
             where id = $1 and claim = $2 and status = 'running'
            returning true
            """,  # noqa: S608 - a constant
            job.id,
            job.claim,
            result,
            output_len,
            ticket,
            month,
        )
        is not None
    )


async def end(
    db: Connection,
    job: ClaimedJob,
    status: str,
    *,
    code: str | None = None,
    message: str | None = None,
    ticket: UUID | None = None,
    month: date | None = None,
) -> bool:
    """End a job as failed or cancelled; whether the claim was still valid."""
    return (
        await db.fetchval(
            """
            update kaixu.job
               set status = $3, error_code = $4, error_message = $5, ticket = $6, month = $7, attempts = attempts + 1,
                   completed_at = clock_timestamp(), claim = null, owner = null, leased_until = null,
                   failure_due_at = case when reports_failure then clock_timestamp() end,
                   webhook_after = case when webhook is not null then clock_timestamp() end
             where id = $1 and claim = $2 and status = 'running'
            returning true
            """,
            job.id,
            job.claim,
            status,
            storable(code),
            storable(message),  # an integration's own text
            ticket,
            month,
        )
        is not None
    )


#: Why a job waits that could otherwise run: it asked for a pause, or there is no room under a cap.
Pause = Literal["waiting", "blocked"]


async def requeue(
    db: Connection,
    job: ClaimedJob,
    *,
    wait_s: float,
    is_failure: bool,
    code: str | None = None,
    message: str | None = None,
    pause: Pause | None = None,
    needs_nusd: int | None = None,
    needs_book: str | None = None,
) -> bool:
    """Return a job to the queue, with `is_failure` as a failed attempt; whether the claim was still valid.

    One that is to be cancelled ends instead. `pause` says what it waits for; a job that asked for a pause has lost no
    worker so far. A blocked job waits until the next month at most; `needs_nusd`: what it could cost, in the
    book `needs_book`.
    """
    return (
        await db.fetchval(
            """
            update kaixu.job
               set status = case when cancel_asked then 'cancelled' else 'queued' end,
                   run_after = case when pause is not null then clock_timestamp()   -- woken while it ran
                                    when $7 = 'blocked' then
                                   least(clock_timestamp() + make_interval(secs => $3),
                                         (date_trunc('month', clock_timestamp() at time zone 'UTC')
                                          + interval '1 month 5 seconds') at time zone 'UTC')
                               else clock_timestamp() + make_interval(secs => $3) end,
                   attempts = attempts + $4,
                   error_code = case when cancel_asked then 'JOB_CANCELLED' else $5 end,
                   error_message = case when cancel_asked then 'the job was cancelled' else $6 end,
                   pause = $7, needs_nusd = $8, needs_book = $9,
                   losses = case when $7 = 'waiting' then 0 else losses end,
                   completed_at = case when cancel_asked then clock_timestamp() end,
                   failure_due_at = case when cancel_asked and reports_failure then clock_timestamp() end,
                   webhook_after = case when cancel_asked and webhook is not null then clock_timestamp() end,
                   claim = null, owner = null, leased_until = null, ticket = null
             where id = $1 and claim = $2 and status = 'running'
            returning true
            """,
            job.id,
            job.claim,
            float(wait_s),
            int(is_failure),
            storable(code),
            storable(message),  # an integration's own text
            pause,
            needs_nusd,
            needs_book,
        )
        is not None
    )


async def set_progress(db: Connection, job: ClaimedJob, done: int, total: int) -> None:
    """Note the progress of a job."""
    await db.execute(
        "update kaixu.job set done = $3, total = $4 where id = $1 and claim = $2 and status = 'running'",
        job.id,
        job.claim,
        done,
        total,
    )
