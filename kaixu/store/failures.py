"""Failures of integrations' jobs that are to be handled: taken in turns, and noted when that is done."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from .query import Connection, Query


class DueFailure(msgspec.Struct, frozen=True):
    """A job that has ended without success. `tries`: how often handling that was begun, this time included."""

    id: UUID
    kind: str
    customer_id: int | None
    key_id: int | None
    install_id: str | None
    app_id: str | None
    build_id: str | None
    request_id: str
    payload: bytes
    status: str
    attempts: int
    error_code: str | None
    tries: int
    completed_at: datetime | None


#: The next time is set before a failure is handled: it is handled again if that ends with the process.
CLAIM = Query(
    DueFailure,
    """
    update kaixu.job j
       set failure_tries = j.failure_tries + 1, failure_due_at = clock_timestamp() + make_interval(secs => $2)
     where j.id in (select x.id from kaixu.job x
                     where x.failure_due_at <= clock_timestamp() and x.kind = any ($1::text[])
                     order by x.failure_due_at
                     limit $3
                       for update skip locked)
    returning j.id, j.kind, j.customer_id, j.key_id, j.install_id, j.app_id, j.build_id, j.request_id, j.payload,
              j.status, j.attempts, j.error_code, j.failure_tries as tries, j.completed_at
    """,
)


async def claim_failures(db: Connection, kinds: Sequence[str], *, lease_s: float, most: int) -> list[DueFailure]:
    """Take failures that are due. One whose handler ends with its process is due again after `lease_s`."""
    return await CLAIM.all(db, list(kinds), float(lease_s), most)


async def postpone_failure(db: Connection, job_id: UUID, *, wait_s: float) -> None:
    """Let a failure whose handler has failed be due again after `wait_s`."""
    await db.execute(
        """
        update kaixu.job set failure_due_at = clock_timestamp() + make_interval(secs => $2)
         where id = $1 and failure_due_at is not null
        """,
        job_id,
        float(wait_s),
    )


async def note_handled(db: Connection, job_id: UUID) -> bool:
    """Note in the caller's transaction that a failure is handled; False: it was before."""
    return (
        await db.fetchval(
            "update kaixu.job set failure_due_at = null where id = $1 and failure_due_at is not null returning true",
            job_id,
        )
        is not None
    )
