"""A worker's lease on one job: ends the job together with its bill, or returns it to the queue."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Literal, Protocol

import asyncpg

from kaixu.jobs.payloads import seal
from kaixu.metering.final_statuses import FINAL_STATUSES
from kaixu.metering.ticket import Ticket
from kaixu.metering.verdict import Refusal
from kaixu.ops.call_facts import CallFacts
from kaixu.ops.clock import utc_now
from kaixu.ops.sealing import Sealer
from kaixu.ops.trace_context import read_trace
from kaixu.plugin.errors import (
    CapReached,
    DatabaseAway,
    HoldRefused,
    KaixuError,
    RateLimited,
    Unavailable,
    UpstreamBusy,
)
from kaixu.plugin.operation import Retry
from kaixu.store import jobs as store
from kaixu.store.jobs import ClaimedJob
from kaixu.store.pool import database
from kaixu.store.query import Connection

log = logging.getLogger(__name__)

#: How long temporary errors (a vendor's rate limit, an unavailable database) do not count as attempts.
MAX_TRANSIENT_S = 24 * 3600.0

#: The pauses between attempts of model calls; kaixu.yaml has their number.
MODEL_RETRY = Retry(first_wait_s=2.0, most_wait_s=300.0)

#: How long a job for which there is no room under a cap waits at most before it is tried again.
BLOCKED_S = 300.0

#: How long a finished result waits for an unavailable database.
MAX_OUTAGE_S = 600.0

#: The code of a cancelled job. No endpoint answers with it as an error.
CANCELLED = "JOB_CANCELLED"


#: What becomes of a job whose attempt has failed; "waits": for a vendor, the database or a cap, which is no attempt.
Failure = Literal["waits", "is tried again", "has failed"]


class LeaseLost(Exception):
    """Another worker runs the job now, or it has ended: this attempt does not count."""


class Lease:
    """One attempt at one job."""

    def __init__(self, pool: asyncpg.Pool, sealer: Sealer, job: ClaimedJob) -> None:
        self.pool = pool
        self.sealer = sealer
        self.job = job
        self.ticket: Ticket | None = None
        self.facts = CallFacts(
            app_id=job.app_id, build_id=job.build_id, customer_id=job.customer_id, key_id=job.key_id
        )  # what is learned about the attempt's call
        self.cancel_requested = False
        self.retry: Retry | None = None  # pauses of an integration's job; None: `MODEL_RETRY`
        self.needs_nusd: int | None = None  # what an integration's job could cost: it waits for room under a cap
        self.needs_book: str | None = None  # and in which book

    async def admitted(self, ticket: Ticket) -> None:
        """Store the ticket of this attempt. Raises `LeaseLost`, `DatabaseAway`."""
        self.ticket = ticket
        with database():
            running = await store.set_ticket(self.pool, self.job, ticket.id)
        if running is None:
            raise LeaseLost
        self.facts.trace = ticket.wire.trace = read_trace(running.traceparent)

    def waive(self) -> None:
        """Do not bill this attempt if it is interrupted: the job runs again."""
        if self.ticket is not None:
            self.ticket.waived = True

    def completion(
        self, ticket: Ticket, result: object, output_len: int | None
    ) -> Callable[[Connection], Awaitable[None]]:
        """The write that ends the job, for `ticket.alongside`: the result and the bill are one transaction."""
        data = seal(self.sealer, self.job.id, "result", result)

        async def write(connection: Connection) -> None:
            if not await store.succeed(
                connection,
                self.job,
                result=data,
                output_len=output_len,
                ticket=ticket.id,
                month=ticket.verdict.month,
            ):
                raise LeaseLost

        return write

    def pause(self, after_s: float) -> Callable[[Connection], Awaitable[None]]:
        """The write that lets the job wait, for `ticket.alongside`: the pause and the release of the hold are one
        transaction.
        """

        async def write(connection: Connection) -> None:
            if not await store.requeue(connection, self.job, wait_s=after_s, is_failure=False, pause="waiting"):
                raise LeaseLost

        return write

    async def pause_unbilled(self, after_s: float) -> None:
        """Let a job without a bill wait. Raises `LeaseLost`, `DatabaseAway`."""
        with database():
            await self.pause(after_s)(self.pool)

    async def complete(self, result: object) -> None:
        """End a job that has no bill. Raises `LeaseLost`, `DatabaseAway`."""
        data = seal(self.sealer, self.job.id, "result", result)
        with database():
            if not await store.succeed(self.pool, self.job, result=data, output_len=None, ticket=None, month=None):
                raise LeaseLost

    async def report_progress(self, done: int, total: int) -> None:
        """Store the progress of the job. Raises `DatabaseAway`."""
        with database():
            await store.set_progress(self.pool, self.job, done, total)

    async def wait_for_database(self) -> None:
        """Wait until the database answers, so that a short outage does not lose a finished result."""
        async with asyncio.timeout(MAX_OUTAGE_S):
            while True:
                try:
                    with database():
                        await self.pool.fetchval("select 1", timeout=3)
                    return
                except (DatabaseAway, TimeoutError):
                    await asyncio.sleep(0.2)

    async def end_cancelled(self) -> None:
        """End the job as cancelled, with the bill of this attempt, if it has one."""
        billed = self.ticket
        if billed is not None and (billed.settlement is None or billed.settlement.end_reason == "released"):
            billed = None
        with database():
            await store.end(
                self.pool,
                self.job,
                "cancelled",
                code=CANCELLED,
                message="the job was cancelled",
                ticket=None if billed is None else billed.id,
                month=None if billed is None else billed.verdict.month,
            )

    async def requeue(self) -> None:
        """Return the job to the queue without counting this attempt."""
        with database():
            await store.requeue(self.pool, self.job, wait_s=0.0, is_failure=False)

    async def fail(self, raised: KaixuError | Refusal) -> Failure:
        """Return the job to the queue for another attempt; or end it, after a final error or the last attempt."""
        error = raised.error if isinstance(raised, Refusal) else raised
        job, message = self.job, error.message[:1000]
        self.facts.failed(error)
        age_s = (utc_now() - job.created_at).total_seconds()
        with database():
            if is_temporary(error) and age_s < MAX_TRANSIENT_S:
                wait_s = max(1.0, float(error.retry_after_s or 0))
                await store.requeue(self.pool, job, wait_s=wait_s, is_failure=False, code=error.code, message=message)
                return "waits"
            if isinstance(error, HoldRefused):  # by its own handler's transaction, which was rolled back
                self.needs_nusd, self.needs_book = error.needs_nusd, error.needs_book
            is_blocked = isinstance(error, HoldRefused) or (
                isinstance(raised, Refusal) and isinstance(error, CapReached)
            )
            if is_blocked and self.needs_nusd is not None:
                wait_s = min(float(error.retry_after_s or BLOCKED_S), BLOCKED_S)
                await store.requeue(
                    self.pool,
                    job,
                    wait_s=wait_s,
                    is_failure=False,
                    code=error.code,
                    message=message,
                    pause="blocked",
                    needs_nusd=self.needs_nusd,
                    needs_book=self.needs_book,
                )
                return "waits"
            if error.status not in FINAL_STATUSES and job.attempts + 1 < job.most_attempts:
                retry = self.retry or MODEL_RETRY
                wait_s = min(retry.first_wait_s * 2.0**job.attempts, retry.most_wait_s)
                await store.requeue(self.pool, job, wait_s=wait_s, is_failure=True, code=error.code, message=message)
                return "is tried again"
            log.warning("job %s has failed: %s", job.id, error.code)
            await store.end(self.pool, job, "failed", code=error.code, message=message)
            return "has failed"


class Runner(Protocol):
    """Runs the jobs of one kind."""

    async def run(self, job: ClaimedJob, lease: Lease) -> None:
        """Run a job and end it through its lease. The error it raises decides whether the job is tried again."""
        ...


def is_temporary(error: KaixuError) -> bool:
    """Whether an error is temporary and not caused by the job."""
    if isinstance(error, UpstreamBusy):
        return error.retry_after_s is not None
    return isinstance(error, RateLimited | Unavailable)
