"""One call of an integration, as its handler sees it. Nothing on it works after the ticket is settled."""

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
from kaixu.ops.sealing import Sealer, about_job
from kaixu.plugin.errors import KaixuError, TicketClosed, UpstreamError, UpstreamTimeout
from kaixu.plugin.operation import Database, Free, Job, Operation
from kaixu.store.jobs import NewJob
from kaixu.store.plugin_database import Transaction
from kaixu.store.plugin_databases import PluginDatabases

from .charges import Meter
from .operation_ticket import OperationTicket
from .wire import TicketWire, WireLimits, upstream_error

log = logging.getLogger(__name__)

ReportProgress = Callable[[int, int], Awaitable[None]]


class OpenTransaction(Protocol):
    """Opens transactions in the plugin's own schema, for one call."""

    def __call__(self, is_open: Callable[[], bool]) -> AbstractAsyncContextManager[Transaction]: ...


class OperationCall:
    """See `kaixu.plugin.Call`, and `kaixu.plugin.ScheduledCall` for calls without a customer."""

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
        open_transaction: OpenTransaction,
        progress: ReportProgress | None = None,
    ) -> None:
        self.body = body
        self.options = options
        self.customer_id = customer_id
        self.key_id = key_id
        self.request_id = request_id
        self.wire = wire
        self._meter = meter
        self._open_transaction = open_transaction
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
        return self._open_transaction(self.is_open)

    async def enqueue(self, job: str, payload: msgspec.Struct, *, delay_s: float = 0, key: str | None = None) -> UUID:
        """Submit a job in a transaction of its own."""
        async with self.db() as db:
            return await db.enqueue(job, payload, delay_s=delay_s, key=key)

    async def progress(self, done: int, of: int) -> None:
        """Report how far a job is."""
        if self._progress is not None:
            await self._progress(done, of)


def meter_for(integration: IntegrationState, what: Operation | Job, body_bytes: int) -> Meter:
    """A meter for one call, with the units that are known before it begins. Raises `TooLarge`."""
    charge = what.charge
    price = 0 if isinstance(charge, Free) else integration.prices_nusd[charge.price]
    meter = Meter(charge, price)
    meter.count("calls", 1)
    meter.count("bytes_in", body_bytes)
    return meter


def limits_for(timeout_s: float) -> WireLimits:
    """The time limits of an operation's wire. Its handler is bounded as a whole."""
    return WireLimits(
        connect_s=min(10.0, timeout_s), first_byte_s=timeout_s, between_bytes_s=timeout_s, total_s=timeout_s, retries=0
    )


def transactions_for(
    databases: PluginDatabases,
    sealer: Sealer,
    integration: IntegrationState,
    ticket: OperationTicket | None,
    request_id: str = "",
) -> OpenTransaction:
    """Opens transactions for one call. Jobs submitted there belong to the call's customer and key."""
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
            raise ValueError(f"job `{name}` has a price: a schedule has no customer to bill")
        job_id = uuid4()
        verdict = None if ticket is None else ticket.verdict
        return NewJob(
            id=job_id,
            kind=name,
            customer_id=None if verdict is None else verdict.customer_id,
            key_id=None if verdict is None else verdict.key_id,
            install_id=None if ticket is None else ticket.ask.install_id,
            app_id=None if ticket is None else ticket.ask.app_id,
            build_id=None if ticket is None else ticket.ask.build_id,
            request_id=request_id if ticket is None else ticket.ask.request_id,
            payload=sealer.seal(msgspec.json.encode(payload), about_job(job_id, "payload")),
            provider=integration.name,
            model=name,
            most_attempts=job.retry.attempts,
            run_after_s=max(0.0, delay_s),
            idempotency_key=key,
        )

    def open_transaction(is_open: Callable[[], bool]) -> AbstractAsyncContextManager[Transaction]:
        return databases.transaction(
            integration.name, has_tables=declared.schema is not None, is_open=is_open, make_job=make_job
        )

    return open_transaction


@asynccontextmanager
async def handler_limits(name: str, timeout_s: float) -> AsyncIterator[None]:
    """Limit a handler's time; turn what it raises into a `KaixuError`."""
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except (KaixuError, asyncio.CancelledError, GeneratorExit):
        raise
    except TimeoutError as error:
        raise UpstreamTimeout(f"`{name}` took longer than {timeout_s:g} s", code="OPERATION_TIMEOUT") from error
    except httpx.HTTPError as error:
        raise upstream_error(error) from error
    except Exception as error:
        # A bug in a plugin must not end the gateway.
        log.exception("operation %s failed", name)
        raise UpstreamError(f"`{name}` failed", hint="Tell your operator.", code="INTEGRATION_FAILED") from error
