"""The worker: takes jobs up, keeps their leases, runs each through the gate. Any number of machines may have one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from uuid import UUID

import asyncpg

from kaixu.metering.gate import Gate
from kaixu.metering.verdict import Refusal
from kaixu.ops.sealing import Sealer
from kaixu.plugin.errors import DatabaseAway, KaixuError
from kaixu.store import admission
from kaixu.store import jobs as store
from kaixu.store.pool import AWAY, database

from .lease import Lease, LeaseLost, Runner

log = logging.getLogger(__name__)

#: How often the queue is looked at where nothing tells that there is something in it.
LOOK_S = 1.0


class Worker:
    """One process's share of the queue. `slots` jobs run at one time; it is asked anew, for a reload may change it."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        gate: Gate,
        sealer: Sealer,
        runners: Callable[[], Mapping[str, Runner]],
        *,
        owner: UUID,
        slots: Callable[[], int],
        lease_s: Callable[[], float],
    ) -> None:
        self.pool = pool
        self.gate = gate
        self.sealer = sealer
        self.runners = runners
        self.owner = owner
        self.slots = slots
        self.lease_s = lease_s
        self.running: dict[asyncio.Task[None], Lease] = {}
        self.changed = asyncio.Event()
        self.stopping = False

    def nudge(self) -> None:
        """There may be something to do."""
        self.changed.set()

    async def run(self) -> None:
        """Until cancelled."""
        beating = asyncio.get_running_loop().create_task(self.beat(), name="job leases")
        try:
            while True:
                self.changed.clear()
                more = False
                try:
                    more = await self.take()
                except (DatabaseAway, asyncpg.PostgresError, *AWAY) as error:
                    log.warning("the queue cannot be looked at: %s", type(error).__name__)
                if not more:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self.changed.wait(), LOOK_S)
        finally:
            beating.cancel()
            await asyncio.wait([beating])

    async def take(self) -> bool:
        """Take up as many jobs as there is room for; whether there may be more for which there is room."""
        room = self.slots() - len(self.running)
        if room <= 0 or self.stopping or self.gate.calls.stopping or self.gate.ledger.away:
            return False
        runners = self.runners()
        with database():
            claimed = await store.claim_jobs(
                self.pool, owner=self.owner, kinds=list(runners), lease_s=self.lease_s(), most=room
            )
        for job in claimed:
            lease = Lease(self.pool, self.sealer, job)
            task = asyncio.get_running_loop().create_task(self.one(runners[job.kind], lease), name=f"job {job.id}")
            self.running[task] = lease
            task.add_done_callback(self.ended)
        return len(claimed) == room and room < self.slots()

    def ended(self, task: asyncio.Task[None]) -> None:
        """One has ended: there is room."""
        self.running.pop(task, None)
        self.changed.set()
        if not task.cancelled() and task.exception() is not None:
            log.error("%s could not be ended; it will be taken up again", task.get_name(), exc_info=task.exception())

    async def one(self, runner: Runner, lease: Lease) -> None:
        """One attempt at one job, to its end in the queue. What the database does not hear is run again."""
        job = lease.job
        try:
            try:
                if job.old_ticket is not None:
                    with database():
                        await admission.release(self.pool, [job.old_ticket])
                await runner.run(job, lease)
            except asyncio.CancelledError:
                if lease.cancel_asked:
                    await lease.cancelled()
                else:
                    await lease.put_back()
            except LeaseLost:
                log.warning("job %s is somebody else's by now", job.id)
            except (KaixuError, Refusal) as error:
                await lease.failed(error)
            except Exception:
                log.exception("job %s failed", job.id)
                await lease.failed(KaixuError("something went wrong here", hint="Quote the request id."))
        except DatabaseAway:
            log.warning("the end of job %s was not written; it will be taken up again", job.id)

    async def beat(self) -> None:
        """Keep the leases; break off what was cancelled, and what somebody else runs by now."""
        while True:
            await asyncio.sleep(self.lease_s() / 4)
            try:
                await self.renew()
            except (DatabaseAway, asyncpg.PostgresError, *AWAY) as error:
                log.warning("leases were not renewed: %s", type(error).__name__)

    async def renew(self) -> None:
        """Renew every lease."""
        running = dict(self.running)
        if not running:
            return
        with database():
            held = await store.heartbeat(self.pool, [lease.job for lease in running.values()], lease_s=self.lease_s())
        cancelled = {one.claim for one in held if one.cancel_asked}
        for task, lease in running.items():
            if lease.job.claim in cancelled and not lease.cancel_asked:
                lease.cancel_asked = True
                task.cancel()

    async def stop(self) -> None:
        """Take nothing up any more; give back what still runs, unbilled."""
        self.stopping = True
        running = dict(self.running)
        for task, lease in running.items():
            lease.waive()
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=20)
