"""The jobs and schedules of integrations: run through the gate, as their operations are."""

from __future__ import annotations

import logging
from collections.abc import Callable
from uuid import uuid4

import asyncpg
import msgspec

from kaixu.catalog.catalog import Catalog, IntegrationState
from kaixu.metering.gate import Caller, Gate
from kaixu.metering.integrations import admit_operation, run_operation, run_unbilled
from kaixu.ops.sealing import Sealer, about_job
from kaixu.plugin.errors import KaixuError, PluginFailed
from kaixu.plugin.operation import Job, Schedule
from kaixu.store import jobs as store
from kaixu.store import schedules
from kaixu.store.jobs import Claimed, NewJob
from kaixu.store.pool import database

from .lease import Lease, Runner
from .texts import opened

log = logging.getLogger(__name__)
AGENT = "job"


class IntegrationRunner:
    """Runs the jobs of integrations that are on, whichever the catalog has now."""

    def __init__(self, gate: Gate, catalog: Callable[[], Catalog], sealer: Sealer) -> None:
        self.gate = gate
        self.catalog = catalog
        self.sealer = sealer

    def kinds(self) -> dict[str, Runner]:
        """What this gateway can run: the jobs and schedules of its integrations."""
        return dict.fromkeys([*self.catalog().jobs, *self.catalog().schedules], self)

    async def run(self, job: Claimed, lease: Lease) -> None:
        """See `Runner.run`."""
        catalog = self.catalog()
        if job.kind in catalog.schedules:
            state, schedule = catalog.schedules[job.kind]
            await run_unbilled(self.gate, state, schedule, None, job.request_id)
            await lease.done(None)
            return
        if job.kind not in catalog.jobs:
            raise PluginFailed(f"the integration behind job `{job.kind}` is not there any more")
        state, what = catalog.jobs[job.kind]
        data = opened(self.sealer, job.id, "payload", job.payload)
        payload = msgspec.json.decode(data, type=what.payload)
        lease.retry = what.retry
        if job.key_id is None:
            await self.own(state, what, payload, job, lease)
            return
        caller = Caller(None, None, job.key_id, job.install_id, AGENT, job.request_id)
        async with admit_operation(self.gate, caller, state, what, len(data)) as ticket:
            await lease.began(ticket)
            said = await run_operation(self.gate, ticket, state, what, payload, lease.told)
            await lease.database_there()
            ticket.alongside = lease.succeeding(ticket, msgspec.Raw(said), None)

    async def own(
        self, state: IntegrationState, what: Job, payload: msgspec.Struct, job: Claimed, lease: Lease
    ) -> None:
        """A job that a schedule has handed in: nobody's, and free."""
        said = await run_unbilled(self.gate, state, what, payload, job.request_id, lease.told)
        await lease.done(msgspec.Raw(said))


class Clock:
    """One gateway's share of looking at the clock."""

    def __init__(
        self, pool: asyncpg.Pool, catalog: Callable[[], Catalog], sealer: Sealer, nudge: Callable[[], None]
    ) -> None:
        self.pool = pool
        self.catalog = catalog
        self.sealer = sealer
        self.nudge = nudge
        self.known: set[tuple[str, float]] = set()

    async def round(self) -> None:
        """Hand in what is due."""
        for state, schedule in self.catalog().schedules.values():
            try:
                await self.look(state, schedule)
            except KaixuError as error:
                log.warning("schedule %s was not looked at: %s", schedule.name, error.message)

    async def look(self, state: IntegrationState, schedule: Schedule) -> None:
        """Hand a schedule in if it is due, and nobody else has. Raises `DatabaseAway`."""
        with database():
            if (schedule.name, schedule.every_s) not in self.known:
                await schedules.make_known(self.pool, schedule.name, schedule.every_s)
                self.known.add((schedule.name, schedule.every_s))
            async with self.pool.acquire() as connection, connection.transaction():
                due = await schedules.take(connection, schedule.name)
                if due is None:
                    return
                job_id = uuid4()
                await store.insert_job(
                    connection,
                    NewJob(
                        id=job_id,
                        kind=schedule.name,
                        customer_id=None,
                        key_id=None,
                        install_id=None,
                        request_id=str(job_id),
                        payload=self.sealer.seal(b"null", about_job(job_id, "payload")),
                        provider=state.name,
                        model=schedule.name,
                        most_attempts=1,
                        idempotency_key=due.isoformat(),
                    ),
                )
        self.nudge()
