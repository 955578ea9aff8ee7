"""Webhooks of completed jobs: claimed for one attempt, delivered or tried again. They wait in the jobs' own rows."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from .query import Connection, Query
from .webhook_deliveries import MOST_FAILURES


class CompletedJob(msgspec.Struct, frozen=True):
    """A job that has ended and whose webhook is due. `webhook` is the sealed URL; `attempt` counts from 1."""

    id: UUID
    customer_id: int
    kind: str
    status: str
    webhook: bytes
    attempt: int
    error_code: str | None
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    input_tokens: int
    output_tokens: int
    cost_nusd: int
    traceparent: str | None


CLAIM = Query(
    CompletedJob,
    """
    with due as (
        update kaixu.job j
           set webhook_attempts = j.webhook_attempts + 1, webhook_after = clock_timestamp() + make_interval(secs => $1),
               completed_at = least(j.completed_at, clock_timestamp())
         where j.id in (select x.id from kaixu.job x
                         where x.webhook_after <= clock_timestamp()
                            or x.webhook_after > clock_timestamp() + interval '3 hours' -- longer than any pause
                            or (x.webhook_after is not null
                                and x.completed_at > clock_timestamp() + interval '5 seconds')
                         order by x.webhook_after limit $2 for update skip locked)
        returning j.*
    )
    select d.id, d.customer_id, d.kind, d.status, d.webhook, d.webhook_attempts as attempt, d.error_code, d.created_at,
           d.started_at, d.completed_at, coalesce(e.input_tokens, 0) as input_tokens,
           coalesce(e.output_tokens, 0) as output_tokens, coalesce(e.cost_nusd, 0) as cost_nusd, d.traceparent
      from due d
      left join kaixu.usage_event e on e.month = d.month and e.ticket = d.ticket
    """,
)


async def claim_webhooks(db: Connection, *, lease_s: float, most: int) -> list[CompletedJob]:
    """Claim webhooks that are due. Each is due again after `lease_s`, unless its attempt is recorded before."""
    return await CLAIM.all(db, float(lease_s), most)


async def record_delivered(db: Connection, job_id: UUID) -> None:
    """End the webhook of a job: it has arrived; tell it if the customer's receiver has failed before."""
    await db.execute(
        """
        with ended as (
            update kaixu.job set webhook_told_at = clock_timestamp(), webhook_after = null where id = $1
            returning customer_id
        )
        select kaixu.note_delivery(p_receiver => 'jobs:' || e.customer_id, p_customer_id => e.customer_id,
                                   p_error => null, p_is_final => false, p_most_failures => $2)
          from ended e
        """,
        job_id,
        MOST_FAILURES,
    )


async def record_failed(db: Connection, job: CompletedJob, *, error: str, retry_in_s: float | None) -> None:
    """Plan the next attempt, or with None give up; tell it if the customer's receiver keeps failing.

    An attempt whose lease ran out changes nothing.
    """
    await db.execute(
        """
        with failed as (
            update kaixu.job
               set webhook_after = clock_timestamp() + make_interval(secs => $3::float8)
             where id = $1 and webhook_attempts = $2 and webhook_told_at is null
            returning customer_id
        )
        select kaixu.note_delivery(p_receiver => 'jobs:' || f.customer_id, p_customer_id => f.customer_id,
                                   p_error => $4, p_is_final => $3::float8 is null, p_most_failures => $5)
          from failed f
        """,
        job.id,
        job.attempt,
        retry_in_s,
        error,
        MOST_FAILURES,
    )
