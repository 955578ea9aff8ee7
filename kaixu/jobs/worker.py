"""The job worker: claims jobs, renews their leases, runs them. Any number of machines may run one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from uuid import UUID

import asyncpg

from kaixu.catalog.current import CurrentConfig
from kaixu.metering.gate import Gate
from kaixu.metering.verdict import Refusal
from kaixu.ops.events import Monitor
from kaixu.ops.failure_events import job_failure_event
from kaixu.ops.leases import renewing
from kaixu.ops.logs import REQUEST_ID
from kaixu.ops.sealing import Sealer
from kaixu.plugin.errors import DatabaseAway, KaixuError
from kaixu.store import admission
from kaixu.store import jobs as store
from kaixu.store.pool import AWAY, database

from .lease import Lease, LeaseLost, Runner

log = logging.getLogger(__name__)

#: Seconds between checks of the queue if nothing wakes the worker.
POLL_S = 1.0

#: How long a stop waits for running jobs to return to the queue.
STOP_S = 20.0


class Worker:
    """Runs jobs in this process. `runners` returns the current runner of each kind of job; a reload may change them."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        gate: Gate,
        sealer: Sealer,
        runners: Callable[[], Mapping[str, Runner]],
        current: CurrentConfig,
        *,
        owner: UUID,
        monitor: Monitor,
    ) -> None:
        self.pool = pool
        self.monitor = monitor
        self.gate = gate
        self.sealer = sealer
        self.runners = runners
        self.current = current
        self.owner = owner
        self.running: dict[asyncio.Task[None], Lease] = {}
        self.wake = asyncio.Event()
        self.stopping = False

    def slots(self) -> int:
        """The maximum number of running jobs."""
        return self.current.section.jobs.workers

    def lease_s(self) -> float:
        """Lease duration without renewal."""
        return self.current.section.jobs.lease_s

    def nudge(self) -> None:
        """Check the queue now."""
        self.wake.set()

    async def run(self) -> None:
        """Run jobs until cancelled."""
        async with renewing(self.renew, lease_s=self.lease_s, what="job leases"):
            unread = False  # the last look found no database; an outage is one line in the log
            while True:
                self.wake.clear()
                may_be_more = False
                try:
                    may_be_more = await self.claim()
                    unread = False
                except (DatabaseAway, asyncpg.PostgresError, *AWAY) as error:
                    if not unread:
                        log.warning("the job queue cannot be read: %s", str(error) or type(error).__name__)
                    unread = True
                if not may_be_more:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(POLL_S):
                            await self.wake.wait()

    async def claim(self) -> bool:
        """Claim and start jobs for all free slots; return whether there may be more jobs."""
        free = self.slots() - len(self.running)
        if free <= 0 or self.stopping or self.gate.calls.leaving or self.gate.ledger.away:
            return False
        runners = self.runners()
        with database():
            claimed = await store.claim_jobs(
                self.pool, owner=self.owner, kinds=list(runners), lease_s=self.lease_s(), most=free
            )
        for job in claimed:
            lease = Lease(self.pool, self.sealer, job)
            task = asyncio.get_running_loop().create_task(self.attempt(runners[job.kind], lease), name=f"job {job.id}")
            self.running[task] = lease
            task.add_done_callback(self.ended)
        return len(claimed) == free and free < self.slots()

    def ended(self, task: asyncio.Task[None]) -> None:
        """Free the slot of an attempt."""
        self.running.pop(task, None)
        self.wake.set()
        if not task.cancelled() and task.exception() is not None:
            log.error(
                "%s could not be ended; it will run again after its lease", task.get_name(), exc_info=task.exception()
            )

    async def attempt(self, runner: Runner, lease: Lease) -> None:
        """Run one attempt and record its end. If that fails, the job runs again after its lease."""
        job = lease.job
        REQUEST_ID.set(job.request_id)
        try:
            try:
                if job.old_ticket is not None:
                    with database():
                        await admission.release(self.pool, [job.old_ticket])
                await runner.run(job, lease)
            except asyncio.CancelledError:
                if lease.cancel_requested:
                    await lease.end_cancelled()
                else:
                    await lease.requeue()
            except LeaseLost:
                log.warning("job %s is run by another worker now", job.id)
            except (KaixuError, Refusal) as error:
                await self.fail(lease, error)
            except Exception:
                log.exception("job %s failed", job.id)
                await self.fail(lease, KaixuError("something went wrong here", hint="Quote the request id."))
        except DatabaseAway:
            log.warning("the end of job %s was not stored; it will run again after its lease", job.id)

    async def fail(self, lease: Lease, error: KaixuError | Refusal) -> None:
        """Record the failure of an attempt in the job and in the monitor.

        Attempts that only wait for a vendor's rate limit are not recorded: there may be one a second for a day.
        """
        outcome = await lease.fail(error)
        if outcome != "waits":
            job = lease.job
            self.monitor.record(
                job_failure_event(
                    lease.facts,
                    request_id=job.request_id,
                    kind=job.kind,
                    job_id=job.id,
                    attempt=job.attempts + 1,
                    is_final=outcome == "has failed",
                )
            )

    async def renew(self) -> None:
        """Renew all leases, and cancel jobs that were cancelled meanwhile. Raises `DatabaseAway`."""
        running = dict(self.running)
        if not running:
            return
        with database():
            held = await store.heartbeat(self.pool, [lease.job for lease in running.values()], lease_s=self.lease_s())
        cancelled = {row.claim for row in held if row.cancel_asked}
        for task, lease in running.items():
            if lease.job.claim in cancelled and not lease.cancel_requested:
                lease.cancel_requested = True
                task.cancel()

    async def stop(self) -> None:
        """Stop claiming; return running jobs to the queue without a bill."""
        self.stopping = True
        running = dict(self.running)
        for task, lease in running.items():
            lease.waive()
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=STOP_S)
