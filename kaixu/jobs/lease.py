"""A worker's hold on one job: ended together with its bill, or given back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Protocol

import asyncpg

from kaixu.metering.ticket import Ticket
from kaixu.metering.verdict import Refusal
from kaixu.ops.sealing import Sealer
from kaixu.plugin.errors import DatabaseAway, KaixuError, RateLimited, Unavailable, UpstreamBusy
from kaixu.plugin.operation import Retry
from kaixu.store import jobs as store
from kaixu.store.jobs import Claimed
from kaixu.store.pool import database
from kaixu.store.query import Connection

from .texts import sealed

log = logging.getLogger(__name__)

#: What will not go better another time.
HOPELESS = frozenset({400, 401, 402, 403, 404, 409, 413, 422})

#: How long a job may wait for what passes by itself (a vendor's limit, a database that is away) without an attempt
#: being counted.
MOST_PASSING_S = 24 * 3600.0

#: How calls of models are tried again; how often, kaixu.yaml says.
MODELS = Retry(first_wait_s=2.0, most_wait_s=300.0)

#: How long an answer that is there is held on to while the database is away.
MOST_AWAY_S = 600.0


#: What a job has for a code that was cancelled: no error that a door answers with.
CANCELLED = "JOB_CANCELLED"


class LeaseLost(Exception):
    """Somebody else runs the job now, or it has ended: nothing of this attempt counts."""


class Lease:
    """One attempt at one job."""

    def __init__(self, pool: asyncpg.Pool, sealer: Sealer, job: Claimed) -> None:
        self.pool = pool
        self.sealer = sealer
        self.job = job
        self.ticket: Ticket | None = None
        self.cancel_asked = False
        self.retry: Retry | None = None  # an integration's own; None: as models are tried

    async def began(self, ticket: Ticket) -> None:
        """The attempt was admitted under `ticket`. Raises `LeaseLost`, `DatabaseAway`."""
        self.ticket = ticket
        with database():
            if not await store.set_ticket(self.pool, self.job, ticket.id):
                raise LeaseLost

    def waive(self) -> None:
        """What the running attempt has used so far is not billed when it is broken off: the job runs again."""
        if self.ticket is not None:
            self.ticket.waived = True

    def succeeding(
        self, ticket: Ticket, result: object, output_len: int | None
    ) -> Callable[[Connection], Awaitable[None]]:
        """What ends the job, for `ticket.alongside`: the result and the bill are one transaction."""
        data = sealed(self.sealer, self.job.id, "result", result)

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

    async def done(self, result: object) -> None:
        """End a job that has no bill. Raises `LeaseLost`, `DatabaseAway`."""
        data = sealed(self.sealer, self.job.id, "result", result)
        with database():
            if not await store.succeed(self.pool, self.job, result=data, output_len=None, ticket=None, month=None):
                raise LeaseLost

    async def told(self, done: int, total: int) -> None:
        """How far it is. Raises `DatabaseAway`."""
        with database():
            await store.told(self.pool, self.job, done, total)

    async def database_there(self) -> None:
        """Wait until the database answers: an answer that is there should not be lost for a moment of its absence."""
        async with asyncio.timeout(MOST_AWAY_S):
            while True:
                try:
                    with database():
                        await self.pool.fetchval("select 1", timeout=3)
                    return
                except (DatabaseAway, TimeoutError):
                    await asyncio.sleep(0.2)

    async def cancelled(self) -> None:
        """End it as cancelled, with the bill of what it had used, if there was anything."""
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

    async def put_back(self, wait_s: float = 0.0) -> None:
        """Give it back as if it had never been taken up."""
        with database():
            await store.put_back(self.pool, self.job, wait_s=wait_s, counted=False)

    async def failed(self, raised: KaixuError | Refusal) -> None:
        """Try again later, or end it and say why."""
        error = raised.error if isinstance(raised, Refusal) else raised
        job = self.job
        age_s = (datetime.now(UTC) - job.created_at).total_seconds()
        with database():
            if passes(error) and age_s < MOST_PASSING_S:
                wait_s = max(1.0, float(error.retry_after_s or 0))
                await store.put_back(
                    self.pool, job, wait_s=wait_s, counted=False, code=error.code, message=error.message[:1000]
                )
            elif error.status not in HOPELESS and job.attempts + 1 < job.most_attempts:
                retry = self.retry or MODELS
                wait_s = min(retry.first_wait_s * 2.0**job.attempts, retry.most_wait_s)
                await store.put_back(
                    self.pool, job, wait_s=wait_s, counted=True, code=error.code, message=error.message[:1000]
                )
            else:
                log.warning("job %s has failed: %s", job.id, error.code)
                await store.end(self.pool, job, "failed", code=error.code, message=error.message[:1000])


class Runner(Protocol):
    """Does the jobs of one kind."""

    async def run(self, job: Claimed, lease: Lease) -> None:
        """Do it, and end it by the lease. What it raises decides whether it is tried again."""
        ...


def passes(error: KaixuError) -> bool:
    """Whether it is nothing of the job's own, and over in a while."""
    if isinstance(error, UpstreamBusy):
        return error.retry_after_s is not None
    return isinstance(error, RateLimited | Unavailable)
