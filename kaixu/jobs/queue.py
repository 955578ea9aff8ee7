"""Submit, find and cancel jobs; each request is admitted by the gate."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID, uuid4

import asyncpg
import msgspec

from kaixu.jobs.payloads import JobOutcome, ModelCall, seal, unseal
from kaixu.metering.gate import Caller, Gate
from kaixu.metering.ticket import Ticket
from kaixu.ops.sealing import Sealer
from kaixu.plugin.access import Rank
from kaixu.plugin.errors import Conflict, NotFound, RateLimited
from kaixu.store import job_rows, jobs
from kaixu.store.job_rows import JobRow as JobRow  # for the API, which must not import the store
from kaixu.store.jobs import NewJob
from kaixu.store.pool import database
from kaixu.store.query import Connection

from .access import admitted_customer, customer_id_of


class JobRequest(msgspec.Struct, frozen=True):
    """A job to submit, without its customer. `model` and `provider` are the public names."""

    kind: str
    call: ModelCall
    provider: str
    model: str
    requested_provider: str | None
    requested_model: str
    idempotency_key: str | None = None
    webhook: str | None = None


class Queue:
    """The queue of jobs, for customers. `nudge` wakes the worker of this process."""

    def __init__(self, pool: asyncpg.Pool, gate: Gate, sealer: Sealer, nudge: Callable[[], None]) -> None:
        self.pool = pool
        self.gate = gate
        self.sealer = sealer
        self.nudge = nudge

    def submit(self, ticket: Ticket, request: JobRequest, *, attempts: int, most_waiting: int) -> Submission:
        """Submit a job in the transaction that ends its admission, which is not billed."""
        ticket.end_reason = "released"
        submission = Submission(self, ticket, request, attempts, most_waiting)
        ticket.alongside = submission.write
        return submission

    async def find(self, caller: Caller, job_id: str) -> JobRow:
        """A job of the caller's customer, by any of its keys. Raises as admission does, and `NotFound`."""
        async with admitted_customer(self.gate, caller, "job:status") as customer_id:
            with database():
                row = await job_rows.find_job(self.pool, parse_uuid(job_id), customer_id=customer_id)
        if row is None:
            raise no_job(job_id)
        return row

    async def require_role(self, caller: Caller, role: Rank) -> None:
        """Raises a `Refusal` where the caller's key has a lower role."""
        if role != "viewer":
            async with self.gate.free(caller, "job:result", role=role) as ticket:
                ticket.end_reason = "released"

    async def cancel(self, caller: Caller, job_id: str) -> JobRow:
        """Cancel a job that has not ended. Raises as `find` does, and `Conflict` if it has succeeded or failed."""
        async with admitted_customer(self.gate, caller, "job:cancel") as customer_id:
            with database():
                status = await job_rows.cancel_job(self.pool, parse_uuid(job_id), customer_id=customer_id)
        if status is None:
            raise no_job(job_id)
        if status in ("succeeded", "failed"):
            raise Conflict(f"the job has {status} already", code="JOB_ENDED")
        return await self.find(caller, job_id)

    def outcome(self, row: JobRow) -> JobOutcome:
        """The outcome of a succeeded job that called a model."""
        return msgspec.json.decode(self.result(row), type=JobOutcome)

    def result(self, row: JobRow) -> bytes:
        """The result of a succeeded job as JSON; for an integration's job, what its handler returned."""
        assert row.result is not None
        return unseal(self.sealer, row.id, "result", row.result)


class Submission:
    """A job that is being submitted. `id` may change in `write`, to that of an older job with the idempotency key."""

    def __init__(self, queue: Queue, ticket: Ticket, request: JobRequest, attempts: int, most_waiting: int) -> None:
        self.queue = queue
        self.ticket = ticket
        self.request = request
        self.attempts = attempts
        self.most_waiting = most_waiting
        self.id = uuid4()
        self.is_new = True

    async def write(self, connection: Connection) -> None:
        """Insert the job. Raises `RateLimited` if too many are queued."""
        request, sealer = self.request, self.queue.sealer
        customer_id, trace = customer_id_of(self.ticket), self.ticket.ask.facts.trace
        if await job_rows.count_queued(connection, customer_id, self.most_waiting) >= self.most_waiting:
            raise RateLimited(
                f"{self.most_waiting} jobs of this account are queued already",
                hint="Submit more when some of them have ended.",
                retry_after_s=30,
                code="TOO_MANY_JOBS",
            )
        job_id = await jobs.insert_job(
            connection,
            NewJob(
                id=self.id,
                kind=request.kind,
                customer_id=customer_id,
                key_id=self.ticket.verdict.key_id,
                install_id=self.ticket.ask.install_id,
                app_id=self.ticket.ask.app_id,
                build_id=self.ticket.ask.build_id,
                request_id=self.ticket.ask.request_id,
                payload=seal(sealer, self.id, "payload", request.call),
                provider=request.provider,
                model=request.model,
                requested_provider=request.requested_provider,
                requested_model=request.requested_model,
                most_attempts=self.attempts,
                idempotency_key=request.idempotency_key,
                traceparent=None if trace is None else trace.traceparent,
                webhook=None if request.webhook is None else seal(sealer, self.id, "webhook", request.webhook),
            ),
        )
        self.is_new = job_id == self.id
        self.id = job_id


def no_job(job_id: str) -> NotFound:
    """The error for a job that does not exist or belongs to another customer."""
    return NotFound(f"there is no job `{job_id[:60]}`", hint="Jobs are deleted some days after their end.", field="id")


def parse_uuid(text: str, missing: Callable[[str], NotFound] = no_job) -> UUID:
    """Parse an id. Raises the error that `missing` makes, if `text` cannot be one."""
    try:
        return UUID(text) if len(text) <= 45 else UUID("")
    except ValueError:
        raise missing(text) from None
