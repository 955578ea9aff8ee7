"""One call of an integration, as its handler sees it: everything on it is lent by the core and dies with the ticket."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol
from uuid import UUID, uuid4

import httpx
import msgspec

from kaixu.catalog.catalog import IntegrationState
from kaixu.metering.charges import Meter
from kaixu.metering.operation_ticket import OperationTicket
from kaixu.metering.wire import TicketWire, WireLimits, translated
from kaixu.ops.sealing import Sealer, about_job
from kaixu.plugin.errors import KaixuError, TicketClosed, UpstreamError, UpstreamTimeout
from kaixu.plugin.operation import Database, Free, Job, Operation
from kaixu.store.jobs import NewJob
from kaixu.store.plugin_database import Transaction
from kaixu.store.plugin_databases import PluginDatabases

log = logging.getLogger(__name__)

ReportProgress = Callable[[int, int], Awaitable[None]]


class Lent(Protocol):
    """What the core lends besides the wire: a transaction in the plugin's own schema."""

    def __call__(self, is_open: Callable[[], bool]) -> AbstractAsyncContextManager[Transaction]: ...


class OperationCall:
    """See `kaixu.plugin.Call`. Without a customer it is a schedule's (`kaixu.plugin.ScheduledCall`)."""

    def __init__(
        self,
        *,
        body: Any,
        options: Any,
        customer_id: int | None,
        key_id: int | None,
        request_id: str,
        wire: TicketWire,
        meter: Meter,
        lend: Lent,
        progress: ReportProgress | None = None,
    ) -> None:
        self.body = body
        self.options = options
        self.customer_id = customer_id
        self.key_id = key_id
        self.request_id = request_id
        self.wire = wire
        self._meter = meter
        self._lend = lend
        self._progress = progress

    def count(self, unit: str, n: int) -> None:
        """Count `n` more of `unit`."""
        if not self.is_open():
            raise RuntimeError("the call has been settled; nothing more is counted")
        self._meter.count_for_plugin(unit, n)

    def is_open(self) -> bool:
        """Whether the call is not settled yet."""
        return not self.wire.closed

    def db(self) -> AbstractAsyncContextManager[Database]:
        """A transaction. Raises `TicketClosed`."""
        if not self.is_open():
            raise TicketClosed("the call has been settled; its database is closed")
        return self._lend(self.is_open)

    async def enqueue(self, job: str, payload: msgspec.Struct, *, delay_s: float = 0, key: str | None = None) -> UUID:
        """A job, in a transaction of its own."""
        async with self.db() as db:
            return await db.enqueue(job, payload, delay_s=delay_s, key=key)

    async def progress(self, done: int, of: int) -> None:
        """How far a job is."""
        if self._progress is not None:
            await self._progress(done, of)


def metered(integration: IntegrationState, what: Operation | Job, body_bytes: int) -> Meter:
    """A meter for one call, with what the core counts before it begins. Raises `TooLarge`."""
    charge = what.charge
    price = 0 if isinstance(charge, Free) else integration.prices_nusd[charge.price]
    meter = Meter(charge, price)
    meter.count("calls", 1)
    meter.count("bytes_in", body_bytes)
    return meter


def limits_for(timeout_s: float) -> WireLimits:
    """The limits of an operation's wire: its handler is bounded as a whole."""
    return WireLimits(
        connect_s=min(10.0, timeout_s), first_byte_s=timeout_s, between_bytes_s=timeout_s, total_s=timeout_s, retries=0
    )


def lending(
    databases: PluginDatabases,
    sealer: Sealer,
    integration: IntegrationState,
    ticket: OperationTicket | None,
    request_id: str = "",
) -> Lent:
    """What lends transactions to one call. Jobs that are handed in there are for the call's customer and key."""
    declared = integration.integration
    assert declared is not None
    jobs = {job.name: job for job in declared.jobs}

    def make_job(name: str, payload: msgspec.Struct, delay_s: float, key: str | None) -> NewJob:
        job = jobs.get(name)
        if job is None:
            raise ValueError(f"integration `{integration.name}` has no job `{name}`")
        if not isinstance(payload, job.payload):
            raise TypeError(f"job `{name}` takes a {job.payload.__name__}")
        if ticket is None and not isinstance(job.charge, Free):
            raise ValueError(f"job `{name}` has a price: a schedule has no customer who could pay for it")
        job_id = uuid4()
        verdict = None if ticket is None else ticket.verdict
        return NewJob(
            id=job_id,
            kind=name,
            customer_id=None if verdict is None else verdict.customer_id,
            key_id=None if verdict is None else verdict.key_id,
            install_id=None if ticket is None else ticket.ask.install_id,
            request_id=request_id if ticket is None else ticket.ask.request_id,
            payload=sealer.seal(msgspec.json.encode(payload), about_job(job_id, "payload")),
            provider=integration.name,
            model=name,
            most_attempts=job.retry.attempts,
            run_after_s=max(0.0, delay_s),
            idempotency_key=key,
        )

    def lend(is_open: Callable[[], bool]) -> AbstractAsyncContextManager[Transaction]:
        return databases.lend(
            integration.name, has_tables=declared.schema is not None, is_open=is_open, make_job=make_job
        )

    return lend


@asynccontextmanager
async def bounded(name: str, timeout_s: float) -> AsyncIterator[None]:
    """Around a handler: its time, and what it raises in our words."""
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except (KaixuError, asyncio.CancelledError, GeneratorExit):
        raise
    except TimeoutError as error:
        raise UpstreamTimeout(f"`{name}` took longer than {timeout_s:g} s", code="OPERATION_TIMEOUT") from error
    except httpx.HTTPError as error:
        raise translated(error) from error
    except Exception as error:
        # A plugin's bug is the plugin's, not the client's and not the gateway's end.
        log.exception("operation %s failed", name)
        raise UpstreamError(f"`{name}` failed", hint="Tell your operator.", code="INTEGRATION_FAILED") from error
