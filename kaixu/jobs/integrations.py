"""Run the jobs and schedules of integrations through the gate, like their operations."""

from __future__ import annotations

import msgspec

from kaixu.catalog.catalog import IntegrationState
from kaixu.catalog.current import CurrentConfig
from kaixu.jobs.payloads import unseal
from kaixu.metering.ending import UNDELIVERED
from kaixu.metering.gate import Caller, Gate
from kaixu.metering.integrations import admit_operation, run_job, run_unbilled
from kaixu.ops.sealing import Sealer
from kaixu.plugin.errors import PluginFailed
from kaixu.plugin.job import Again
from kaixu.plugin.operation import Job
from kaixu.store.jobs import ClaimedJob
from kaixu.store.pool import database
from kaixu.store.reactions import crossing_of

from .lease import Lease, Runner

AGENT = "job"


class IntegrationRunner:
    """Runs jobs of the integrations that are on in the current catalog."""

    def __init__(self, gate: Gate, current: CurrentConfig, sealer: Sealer) -> None:
        self.gate = gate
        self.current = current
        self.sealer = sealer

    def kinds(self) -> dict[str, Runner]:
        """The kinds of jobs that this gateway can run: jobs and schedules of its integrations."""
        catalog = self.current.catalog
        return dict.fromkeys([*catalog.jobs, *catalog.schedules], self)

    async def run(self, job: ClaimedJob, lease: Lease) -> None:
        """See `Runner.run`."""
        catalog = self.current.catalog
        if job.kind in catalog.schedules:
            state, schedule = catalog.schedules[job.kind]
            await run_unbilled(self.gate, state, schedule, None, job.request_id)
            await lease.complete(None)
            return
        if job.kind not in catalog.jobs:
            raise PluginFailed(f"the integration of job `{job.kind}` no longer exists")
        state, handler = catalog.jobs[job.kind]
        data = await self.payload_of(job)
        payload = msgspec.json.decode(data, type=handler.payload)
        lease.retry = handler.retry
        if job.key_id is None or handler.admission == "none":
            await self.run_unowned(state, handler, payload, job, lease)
            return
        caller = Caller(
            None,
            None,
            job.key_id,
            job.install_id,
            AGENT,
            job.request_id,
            app_id=job.app_id,
            build_id=job.build_id,
            facts=lease.facts,
        )
        admission = admit_operation(self.gate, caller, state, handler, payload, len(data))
        lease.needs_nusd, lease.needs_book = admission.ask.least_nusd, admission.ask.book
        async with admission as ticket:
            await lease.admitted(ticket)
            try:
                result = await run_job(
                    self.gate, ticket, state, handler, payload, lease.report_progress, job.attempts + 1
                )
            except Again as again:
                # What was used until the pause is not billed; the operator sees what it has cost.
                ticket.waived = ticket.has_used_something
                ticket.end_reason = UNDELIVERED if ticket.has_used_something else "released"
                ticket.alongside = lease.pause(again.after_s)
            else:
                ticket.alongside = lease.completion(ticket, msgspec.Raw(result), None)
            await lease.wait_for_database()

    async def payload_of(self, job: ClaimedJob) -> bytes:
        """The payload as JSON. Of a reaction it is what has happened, which is not secret and written by SQL."""
        if job.payload:
            return unseal(self.sealer, job.id, "payload", job.payload)
        with database():
            crossing = await crossing_of(self.gate.databases.pool, job.id)
        if crossing is None:
            raise PluginFailed(f"nothing is known of what job {job.id} reacts to")
        return msgspec.json.encode(
            {**crossing.body, "id": crossing.id, "on": crossing.event, "customer_id": crossing.customer_id}
        )

    async def run_unowned(
        self, state: IntegrationState, handler: Job, payload: msgspec.Struct, job: ClaimedJob, lease: Lease
    ) -> None:
        """Run a job without a key, for a customer or for none: it is free."""
        try:
            result = await run_unbilled(
                self.gate,
                state,
                handler,
                payload,
                job.request_id,
                lease.report_progress,
                job.attempts + 1,
                job.customer_id,
            )
        except Again as again:
            await lease.pause_unbilled(again.after_s)
        else:
            await lease.complete(msgspec.Raw(result))
