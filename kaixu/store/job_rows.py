"""Jobs as their customers and operators see them: shown, listed, cancelled, removed."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from kaixu.plugin.access import Rank

from .pruning import delete_in_batches
from .query import Connection, Query

#: Rows removed in one statement.
ROWS_AT_ONCE = 1000

#: "waiting": its handler asked for a pause; "blocked": there is no room under a cap. Both are queued in the database.
UNENDED_STATUSES = ("queued", "waiting", "blocked", "running")
STATUSES = (*UNENDED_STATUSES, "succeeded", "failed", "cancelled")

#: Days after which a failure that could not be handled is forgotten with its job, besides those of ended jobs.
UNHANDLED_DAYS = 30


class JobRow(msgspec.Struct, frozen=True):
    """A job as its customer sees it; `result` is sealed. Tokens and cost are those of its usage event.

    `key_role` is that of the key that has submitted it; `status` is one of `STATUSES`.
    """

    id: UUID
    kind: str
    customer_id: int | None
    key_id: int | None
    key_role: Rank | None
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

    @property
    def is_unended(self) -> bool:
        """Whether it waits or runs."""
        return self.status in UNENDED_STATUSES


FIND = Query(
    JobRow,
    """
    select j.id, j.kind, j.customer_id, j.key_id, k.role as key_role,
           case when j.status = 'queued' then coalesce(j.pause, 'queued') else j.status end as status,
           j.provider, j.model,
           j.requested_provider, j.requested_model, j.request_id, j.result, j.output_len, j.attempts, j.losses,
           j.cancel_asked, j.done, j.total, j.error_code, j.error_message, j.webhook_attempts,
           j.webhook_after is not null as webhook_waits,
           j.webhook_told_at, j.created_at, j.started_at, j.completed_at, j.heartbeat_at,
           coalesce(e.input_tokens, 0) as input_tokens, coalesce(e.output_tokens, 0) as output_tokens,
           coalesce(e.cost_nusd, 0) as cost_nusd
      from kaixu.job j
      left join kaixu.usage_event e on e.month = j.month and e.ticket = j.ticket
      left join kaixu.virtual_key k on k.id = j.key_id
     where j.id = $1 and ($2::bigint is null or (j.customer_id = $2 and j.key_id is not null))
    """,
)


async def find_job(db: Connection, job_id: UUID, *, customer_id: int | None) -> JobRow | None:
    """A job of this customer; with None, of any customer."""
    return await FIND.one(db, job_id, customer_id)


LISTED = Query(
    JobRow,
    """
    select j.id, j.kind, j.customer_id, j.key_id, k.role as key_role,
           case when j.status = 'queued' then coalesce(j.pause, 'queued') else j.status end as status,
           j.provider, j.model,
           j.requested_provider, j.requested_model, j.request_id, null::bytea as result, j.output_len,
           j.attempts, j.losses, j.cancel_asked, j.done, j.total, j.error_code, j.error_message, j.webhook_attempts,
           j.webhook_after is not null as webhook_waits, j.webhook_told_at, j.created_at, j.started_at, j.completed_at,
           j.heartbeat_at,
           coalesce(e.input_tokens, 0) as input_tokens, coalesce(e.output_tokens, 0) as output_tokens,
           coalesce(e.cost_nusd, 0) as cost_nusd
      from kaixu.job j
      left join kaixu.usage_event e on e.month = j.month and e.ticket = j.ticket
      left join kaixu.virtual_key k on k.id = j.key_id
     where ($1::bigint is null or j.customer_id = $1)
       and ($2::text is null or j.status = case when $2 in ('waiting', 'blocked') then 'queued' else $2 end)
       and ($2::text is null or $2 not in ('queued', 'waiting', 'blocked') or coalesce(j.pause, 'queued') = $2)
     order by j.created_at desc, j.id
     limit $3
    """,
)


async def list_jobs(db: Connection, *, customer_id: int | None, status: str | None, limit: int) -> list[JobRow]:
    """The newest jobs, without their results."""
    return await LISTED.all(db, customer_id, status, limit)


class CancelledJob(msgspec.Struct, frozen=True):
    """The job's status now: "cancelled", "running" until its worker stops it, or the one that it has ended with."""

    status: str


CANCEL = Query(
    CancelledJob,
    """
    select c.status
      from kaixu.job j
     cross join lateral kaixu.cancel_job(p_job_id => j.id, p_integration => null, p_customer_id => $2) c (status)
     where j.id = $1 and c.status is not null and ($2::bigint is null or j.key_id is not null)
    """,
)


async def cancel_job(db: Connection, job_id: UUID, *, customer_id: int | None) -> str | None:
    """Cancel a job of this customer; with None, of any. Its status then, or None if there is no such job.

    A running job ends when its worker stops it.
    """
    row = await CANCEL.one(db, job_id, customer_id)
    return None if row is None else row.status


async def prune_jobs(db: Connection, *, ended_days: int, unended_days: int) -> int:
    """Remove jobs with their texts, ended and unended ones after their own number of days; return how many.

    An unended job whose integration handles failures ends as failed, and is removed when that was handled.
    """
    await db.execute(EXPIRED, unended_days)
    ended = await delete_in_batches(db, ENDED, ended_days, ROWS_AT_ONCE, at_once=ROWS_AT_ONCE)
    unended = await delete_in_batches(db, UNENDED, unended_days, ROWS_AT_ONCE, at_once=ROWS_AT_ONCE)
    return ended + unended


EXPIRED = """
    update kaixu.job j
       set status = 'failed', error_code = 'JOB_EXPIRED', error_message = 'the job did not end in time',
           completed_at = clock_timestamp(), failure_due_at = clock_timestamp(),
           claim = null, owner = null, leased_until = null
     where j.id in (select x.id from kaixu.job x
                     where x.completed_at is null and x.created_at < now() - make_interval(days => $1)
                       and x.reports_failure
                       for update skip locked)
"""

ENDED = f"""
    delete from kaixu.job
     where id in (select id from kaixu.job
                   where completed_at < now() - make_interval(days => $1)
                     and (failure_due_at is null or completed_at < now() - make_interval(days => $1 + {UNHANDLED_DAYS}))
                   limit $2)
"""  # noqa: S608 - a constant

UNENDED = """
    delete from kaixu.job
     where id in (select id from kaixu.job
                   where completed_at is null and created_at < now() - make_interval(days => $1)
                     and not reports_failure
                   limit $2 for update skip locked)
"""


async def count_queued(db: Connection, customer_id: int, most: int) -> int:
    """The number of the queued jobs that this customer's keys have submitted, counted up to `most`."""
    count: int = await db.fetchval(
        "select count(*) from (select from kaixu.job where account = $1 and status = 'queued' and key_id is not null"
        " limit $2) q",
        customer_id,
        most,
    )
    return count
