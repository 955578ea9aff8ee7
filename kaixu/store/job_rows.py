"""Jobs as their customers and operators see them: shown, listed, cancelled, removed."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from kaixu.plugin.operation import Rank

from .query import Connection, Query

#: Rows removed in one statement.
ROWS_AT_ONCE = 1000


class JobRow(msgspec.Struct, frozen=True):
    """A job as its customer sees it; `result` is sealed. Tokens and cost are those of its usage event.

    `key_role` is that of the key that has submitted it.
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


FIND = Query(
    JobRow,
    """
    select j.id, j.kind, j.customer_id, j.key_id, k.role as key_role, j.status, j.provider, j.model,
           j.requested_provider, j.requested_model, j.request_id, j.result, j.output_len, j.attempts, j.losses,
           j.cancel_asked, j.done, j.total, j.error_code, j.error_message, j.webhook_attempts,
           j.webhook_after is not null as webhook_waits,
           j.webhook_told_at, j.created_at, j.started_at, j.completed_at, j.heartbeat_at,
           coalesce(e.input_tokens, 0) as input_tokens, coalesce(e.output_tokens, 0) as output_tokens,
           coalesce(e.cost_nusd, 0) as cost_nusd
      from kaixu.job j
      left join kaixu.usage_event e on e.month = j.month and e.ticket = j.ticket
      left join kaixu.virtual_key k on k.id = j.key_id
     where j.id = $1 and ($2::bigint is null or j.customer_id = $2)
    """,
)


async def find_job(db: Connection, job_id: UUID, *, customer_id: int | None) -> JobRow | None:
    """A job of this customer; with None, of any customer."""
    return await FIND.one(db, job_id, customer_id)


LISTED = Query(
    JobRow,
    """
    select j.id, j.kind, j.customer_id, j.key_id, k.role as key_role, j.status, j.provider, j.model,
           j.requested_provider, j.requested_model, j.request_id, null::bytea as result, j.output_len,
           j.attempts, j.losses, j.cancel_asked, j.done, j.total, j.error_code, j.error_message, j.webhook_attempts,
           j.webhook_after is not null as webhook_waits, j.webhook_told_at, j.created_at, j.started_at, j.completed_at,
           j.heartbeat_at,
           coalesce(e.input_tokens, 0) as input_tokens, coalesce(e.output_tokens, 0) as output_tokens,
           coalesce(e.cost_nusd, 0) as cost_nusd
      from kaixu.job j
      left join kaixu.usage_event e on e.month = j.month and e.ticket = j.ticket
      left join kaixu.virtual_key k on k.id = j.key_id
     where ($1::bigint is null or j.customer_id = $1) and ($2::text is null or j.status = $2)
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
    """Cancel a job; its status then, or None if there is no such job. A running job ends when its worker stops it."""
    row = await CANCEL.one(db, job_id, customer_id)
    return None if row is None else row.status


async def prune_jobs(db: Connection, *, ended_days: int, unended_days: int) -> int:
    """Remove jobs with their texts: ended ones and unended ones, each after so many days; return how many."""
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


async def count_queued(db: Connection, customer_id: int, most: int) -> int:
    """The number of this customer's queued jobs, counted up to `most`."""
    count: int = await db.fetchval(
        "select count(*) from (select from kaixu.job where account = $1 and status = 'queued' limit $2) q",
        customer_id,
        most,
    )
    return count
