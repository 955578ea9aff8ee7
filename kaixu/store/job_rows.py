"""Jobs as their customers and operators see them: looked at, listed, cancelled, forgotten."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from .query import Connection, Query

#: Rows removed in one statement.
ROWS_AT_ONCE = 1000


class JobRow(msgspec.Struct, frozen=True):
    """A job as its customer sees it; `result` is sealed. Tokens and cost are those of its usage event."""

    id: UUID
    kind: str
    customer_id: int | None
    key_id: int | None
    status: str
    provider: str | None
    model: str | None
    requested_provider: str | None
    requested_model: str | None
    request_id: str
    result: bytes | None
    output_len: int | None
    attempts: int
    losses: int
    cancel_asked: bool
    done: int | None
    total: int | None
    error_code: str | None
    error_message: str | None
    webhook_attempts: int
    webhook_waits: bool
    webhook_told_at: datetime | None
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    heartbeat_at: datetime | None
    input_tokens: int
    output_tokens: int
    cost_nusd: int


FIND = Query(
    JobRow,
    """
    select j.id, j.kind, j.customer_id, j.key_id, j.status, j.provider, j.model, j.requested_provider,
           j.requested_model, j.request_id, j.result, j.output_len, j.attempts, j.losses, j.cancel_asked, j.done,
           j.total, j.error_code, j.error_message, j.webhook_attempts, j.webhook_after is not null as webhook_waits,
           j.webhook_told_at, j.created_at, j.started_at, j.completed_at, j.heartbeat_at,
           coalesce(e.input_tokens, 0) as input_tokens, coalesce(e.output_tokens, 0) as output_tokens,
           coalesce(e.cost_nusd, 0) as cost_nusd
      from kaixu.job j
      left join kaixu.usage_event e on e.month = j.month and e.ticket = j.ticket
     where j.id = $1 and ($2::bigint is null or j.customer_id = $2)
    """,
)


async def find_job(db: Connection, job_id: UUID, *, customer_id: int | None) -> JobRow | None:
    """A job of this customer's, or of anybody's for None."""
    return await FIND.one(db, job_id, customer_id)


LISTED = Query(
    JobRow,
    """
    select j.id, j.kind, j.customer_id, j.key_id, j.status, j.provider, j.model, j.requested_provider,
           j.requested_model, j.request_id, null::bytea as result, j.output_len, j.attempts, j.losses, j.cancel_asked,
           j.done, j.total, j.error_code, j.error_message, j.webhook_attempts,
           j.webhook_after is not null as webhook_waits, j.webhook_told_at, j.created_at, j.started_at, j.completed_at,
           j.heartbeat_at,
           coalesce(e.input_tokens, 0) as input_tokens, coalesce(e.output_tokens, 0) as output_tokens,
           coalesce(e.cost_nusd, 0) as cost_nusd
      from kaixu.job j
      left join kaixu.usage_event e on e.month = j.month and e.ticket = j.ticket
     where ($1::bigint is null or j.customer_id = $1) and ($2::text is null or j.status = $2)
     order by j.created_at desc, j.id
     limit $3
    """,
)


async def list_jobs(db: Connection, *, customer_id: int | None, status: str | None, limit: int) -> list[JobRow]:
    """The newest jobs, without their results."""
    return await LISTED.all(db, customer_id, status, limit)


class Cancelled(msgspec.Struct, frozen=True):
    """What became of it: "cancelled", "running" where its worker will be told, or the status that it has ended with."""

    status: str


CANCEL = Query(
    Cancelled,
    """
    update kaixu.job j
       set cancel_asked = j.cancel_asked or j.status in ('queued', 'running'),
           status = case when j.status = 'queued' then 'cancelled' else j.status end,
           error_code = case when j.status = 'queued' then 'JOB_CANCELLED' else j.error_code end,
           error_message = case when j.status = 'queued' then 'the job was cancelled' else j.error_message end,
           completed_at = case when j.status = 'queued' then clock_timestamp() else j.completed_at end,
           webhook_after = case when j.status = 'queued' and j.webhook is not null then clock_timestamp()
                                else j.webhook_after end
     where j.id = $1 and ($2::bigint is null or j.customer_id = $2)
    returning j.status
    """,
)


async def cancel_job(db: Connection, job_id: UUID, *, customer_id: int | None) -> str | None:
    """Cancel a job; its status then, or None where there is none. A running one ends when its worker hears of it."""
    row = await CANCEL.one(db, job_id, customer_id)
    return None if row is None else row.status


class Waiting(msgspec.Struct, frozen=True):
    """How full the queue is."""

    queued: int
    running: int
    oldest_s: float


WAITING = Query(
    Waiting,
    """
    select count(*) filter (where status = 'queued') as queued, count(*) filter (where status = 'running') as running,
           coalesce(extract(epoch from now() - min(run_after) filter (where status = 'queued' and run_after < now())),
                    0)::float8 as oldest_s
      from kaixu.job where completed_at is null
    """,
)


async def waiting(db: Connection) -> Waiting:
    """How many jobs wait and run, and how long the first of them has waited."""
    row = await WAITING.one(db)
    assert row is not None
    return row


async def prune_jobs(db: Connection, *, ended_days: int, unended_days: int) -> int:
    """Forget jobs, with their texts: ended ones after so many days, others after so many; return how many."""
    removed = 0
    for statement, days in ((ENDED, ended_days), (UNENDED, unended_days)):
        while True:
            gone = int((await db.execute(statement, days, ROWS_AT_ONCE)).split()[-1])
            removed += gone
            if gone < ROWS_AT_ONCE:
                break
    return removed


ENDED = """
    delete from kaixu.job
     where id in (select id from kaixu.job where completed_at < now() - make_interval(days => $1) limit $2)
"""

UNENDED = """
    delete from kaixu.job
     where id in (select id from kaixu.job
                   where completed_at is null and created_at < now() - make_interval(days => $1)
                   limit $2 for update skip locked)
"""


async def queued_of(db: Connection, customer_id: int, most: int) -> int:
    """How many jobs of this customer wait; counted up to `most`."""
    count: int = await db.fetchval(
        "select count(*) from (select from kaixu.job where account = $1 and status = 'queued' limit $2) q",
        customer_id,
        most,
    )
    return count


class ToTell(msgspec.Struct, frozen=True):
    """A job whose end is to be told; `webhook` is sealed."""

    id: UUID
    customer_id: int
    kind: str
    status: str
    webhook: bytes
    webhook_attempts: int
    error_code: str | None
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    input_tokens: int
    output_tokens: int
    cost_nusd: int


TO_TELL = Query(
    ToTell,
    """
    with due as (
        update kaixu.job j
           set webhook_attempts = j.webhook_attempts + 1, webhook_after = clock_timestamp() + make_interval(secs => $1),
               completed_at = least(j.completed_at, clock_timestamp())
         where j.id in (select x.id from kaixu.job x
                         where x.webhook_after <= clock_timestamp()
                            or x.webhook_after > clock_timestamp() + interval '3 hours' -- longer than any wait
                            or (x.webhook_after is not null
                                and x.completed_at > clock_timestamp() + interval '5 seconds')
                         order by x.webhook_after limit $2 for update skip locked)
        returning j.*
    )
    select d.id, d.customer_id, d.kind, d.status, d.webhook, d.webhook_attempts, d.error_code, d.created_at,
           d.started_at, d.completed_at, coalesce(e.input_tokens, 0) as input_tokens,
           coalesce(e.output_tokens, 0) as output_tokens, coalesce(e.cost_nusd, 0) as cost_nusd
      from due d
      left join kaixu.usage_event e on e.month = d.month and e.ticket = d.ticket
    """,
)


async def take_webhooks(db: Connection, *, again_s: float, most: int) -> list[ToTell]:
    """Ends that are to be told now; each is ours for `again_s` seconds, and then told again unless `webhook_done`."""
    return await TO_TELL.all(db, float(again_s), most)


async def webhook_done(db: Connection, job_id: UUID, *, told: bool, wait_s: float | None = None) -> None:
    """It was told; or it is to be told again after `wait_s`; or, with neither, it is given up."""
    await db.execute(
        """
        update kaixu.job
           set webhook_told_at = case when $2 then clock_timestamp() end,
               webhook_after = case when not $2 and $3::float8 is not null
                                    then clock_timestamp() + make_interval(secs => $3) end
         where id = $1
        """,
        job_id,
        told,
        wait_s,
    )
