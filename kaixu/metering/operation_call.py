"""One call of an integration, as its handler sees it. Nothing on it works after the ticket is settled."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import date
from math import inf
from pathlib import Path
from typing import Any, ParamSpec, Protocol, TypeVar
from uuid import UUID, uuid4

import httpx
import msgspec

from kaixu.catalog.catalog import IntegrationState
from kaixu.ops.sealing import about_job
from kaixu.plugin.access import Caller
from kaixu.plugin.blob import Blob, blobs_in
from kaixu.plugin.book import BookMonth
from kaixu.plugin.callback import Begun
from kaixu.plugin.database import Database
from kaixu.plugin.deadline import Deadline, within
from kaixu.plugin.errors import KaixuError, TicketClosed, UpstreamError, UpstreamTimeout
from kaixu.plugin.job import Again
from kaixu.plugin.operation import Charge, Free, Job, NoteLevel, Operation, PerUnit
from kaixu.plugin.own_thread import Threads
from kaixu.plugin.scratch import Scratch
from kaixu.plugin.webhook import WebhookEvent
from kaixu.store.jobs import NewJob
from kaixu.store.plugin_databases import PluginDatabases
from kaixu.store.plugin_transaction import Transaction
from kaixu.store.rights import Reach, Rights
from kaixu.store.webhook_events import NewEvent

from .call_access import CallAccess
from .call_blobs import CallBlobs, CallUpload, UploadBody
from .callbacks import CallbackStart
from .charges import MOST_UNITS, Meter
from .customer_data import CustomerData
from .integration_wire import IntegrationWire
from .keyed_charges import charging_of, charging_transaction
from .operation_ticket import OperationTicket
from .submitter import Submitter
from .webhook_events import new_event
from .webhook_verify import require_names
from .wire import WireLimits, upstream_error
from .without_secrets import logged_failure, without_secrets

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

#: Characters of a key of a job, or of the value that it runs alone for.
MOST_NAME = 500

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
        caller: Caller,
        wire: IntegrationWire,
        meter: Meter,
        open_transaction: OpenTransaction,
        customer_data: CustomerData,
        scratch: Path,
        blobs: CallBlobs,
        upload: UploadBody | None = None,
        start: CallbackStart | None = None,
        progress: ReportProgress | None = None,
        attempt: int = 1,
        access: CallAccess | None = None,
    ) -> None:
        self.body = body
        self.options = options
        self.customer_id = customer_id
        self.key_id = key_id
        self.request_id = request_id
        self.caller = caller
        self.wire = wire
        self.attempt = attempt
        self._meter = meter
        self._open_transaction = open_transaction
        self._customer_data = customer_data
        self._access = access
        self._handlers = [] if access is None else access.handlers
        self._progress = progress
        self._threads = Threads()
        self._scratch = Scratch(scratch)
        self._has_ended = False
        self._is_running = False
        self._blobs = blobs
        self._upload = None if upload is None else CallUpload(upload, blobs, meter, self._paused)
        self.timer: Deadline | None = None  # the handler's time limit
        self.start = start
        wire.blobs = blobs

    async def begin(
        self,
        callback: str,
        data: msgspec.Struct | None = None,
        *,
        return_to: str | None = None,
        lifetime_s: float = 600.0,
    ) -> Begun:
        """See `kaixu.plugin.Call.begin`."""
        if self.start is None:
            raise ValueError("only an operation can begin something with a browser")
        return await self.start.begin(
            callback, data, return_to=return_to, lifetime_s=lifetime_s, is_open=self.is_open()
        )

    @property
    def upload(self) -> CallUpload:
        """See `kaixu.plugin.Call.upload`. Raises `ValueError`."""
        if self._upload is None:
            raise ValueError("only an operation with `upload=True` gets an upload")
        return self._upload

    def chunks(self, blob: Blob, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """See `kaixu.plugin.Call.chunks`. Raises `TicketClosed`, `ValueError`."""
        self._blobs.require_customer()
        return self._blobs.read(blob, start, end)

    async def save(self, blobs: Blob | Sequence[Blob], path: Path) -> int:
        """See `kaixu.plugin.Call.save`. Raises `TicketClosed`."""
        return await self._blobs.save(blobs, path)

    async def _paused(self, work: Awaitable[Blob]) -> Blob:
        """Wait for a client's body. The handler's time limit does not run meanwhile."""
        timer, loop = self.timer, asyncio.get_running_loop()
        began, ends = loop.time(), inf if timer is None else timer.at
        if timer is not None:
            timer.move(inf)
        try:
            return await work
        finally:
            waited_s = loop.time() - began
            self.wire.paused(waited_s)
            if timer is not None:
                timer.move(ends + waited_s)

    async def in_thread(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """See `kaixu.plugin.Call.in_thread`. Raises `TicketClosed`."""
        if not self.is_open():
            raise TicketClosed("the call has been settled; it starts no thread")
        return await self._threads.run(function, *args, **kwargs)

    def scratch(self, most_bytes: int) -> AbstractAsyncContextManager[Path]:
        """See `kaixu.plugin.Call.scratch`. Raises `TicketClosed`."""
        if not self.is_open():
            raise TicketClosed("the call has been settled; it gets no folder")
        return self._scratch.folder(most_bytes)

    def note_running(self) -> None:
        """A handler, or the stream that it has returned, begins: the integration is not closed before its end."""
        if not self._is_running:
            self._is_running = True
            self._handlers.append(None)

    async def end(self) -> None:
        """The handler has ended: wait for its threads, remove its folders. Only then the call can be settled."""
        self._has_ended = True
        try:
            await self._threads.end()
        finally:
            try:
                await self._scratch.end()
            finally:
                if self._is_running:
                    self._is_running = False
                    self._handlers.pop()
                await self._blobs.end()

    def count(self, unit: str, n: int) -> None:
        """Count `n` more of `unit`."""
        if not self.is_open():
            raise RuntimeError("the call has been settled; nothing more is counted")
        self._meter.count_for_plugin(unit, n)

    @property
    def secrets(self) -> CustomerData:
        """See `kaixu.plugin.Secrets`."""
        return self._customer_data

    async def settings(self) -> Any:
        """The settings of the customer. Raises `TicketClosed`, `ValueError`, `PluginFailed`."""
        return await self._customer_data.settings()

    async def change_settings(self, changes: Mapping[str, Any]) -> Any:
        """Change settings of the customer. Raises `TicketClosed`, `ValueError`, `Unprocessable`, `Conflict`."""
        return await self._customer_data.change_settings(changes)

    async def customer_with(self, field: str, value: str | int) -> int | None:
        """The customer with a value of a unique setting. Raises `TicketClosed`, `ValueError`, `Conflict`."""
        return await self._customer_data.customer_with(field, value)

    @property
    def customers(self) -> CallAccess:
        """See `kaixu.plugin.Customers`."""
        assert self._access is not None
        return self._access

    async def rearm(self, after_s: float) -> bool:
        """See `kaixu.plugin.Call.rearm`. Raises `TicketClosed`, `ValueError`."""
        return await self.customers.rearm(after_s)

    def note(self, level: NoteLevel, summary: str, **detail: Any) -> None:
        """See `kaixu.plugin.Call.note`. Raises `TicketClosed`, `ValueError`."""
        self.customers.note(level, summary, **detail)

    def vendor_cost_nusd(self, n: int) -> None:
        """See `kaixu.plugin.Call.vendor_cost_nusd`. Raises `RuntimeError` after the call, `ValueError`."""
        if not self.is_open():
            raise RuntimeError("the call has been settled; nothing more is counted")
        self._meter.add_vendor_cost(n)

    def is_open(self) -> bool:
        """Whether the call is not settled yet."""
        return not (self._has_ended or self.wire.closed)

    async def book(self, name: str, month: date | None = None) -> BookMonth:
        """See `kaixu.plugin.Call.book`. Raises `TicketClosed`, `ValueError`."""
        return await self._customer_data.book(name, month)

    def db(self) -> AbstractAsyncContextManager[Database]:
        """A transaction. Raises `TicketClosed`."""
        if not self.is_open():
            raise TicketClosed("the call has been settled; its database is closed")
        return self._open_transaction(self.is_open)

    async def enqueue(
        self,
        job: str,
        payload: msgspec.Struct,
        *,
        delay_s: float = 0,
        key: str | None = None,
        serial: str | None = None,
        customer_id: int | None = None,
    ) -> UUID:
        """Submit a job in a transaction of its own."""
        async with self.db() as db:
            return await db.enqueue(job, payload, delay_s=delay_s, key=key, serial=serial, customer_id=customer_id)

    async def progress(self, done: int, of: int) -> None:
        """Report how far a job is."""
        if self._progress is not None:
            await self._progress(done, of)


def meter_for(integration: IntegrationState, what: Operation | Job, body: object, body_bytes: int) -> Meter:
    """A meter for one call, with the units that are known before it begins. Raises `TooLarge`, `UpstreamError`."""
    charge = what.charge
    price = 0 if isinstance(charge, Free) else integration.prices_nusd[charge.price]
    meter = Meter(charge, price, most_units_of(what.name, charge, body))
    meter.count("calls", 1)
    meter.count("bytes_in", body_bytes)
    return meter


def most_units_of(name: str, charge: Charge, body: object) -> int:
    """The most units that a call with this input may use. Raises `KaixuError` of the plugin, `UpstreamError`."""
    if not isinstance(charge, PerUnit):
        return 0
    if not callable(charge.most):
        return charge.most or 0
    try:
        most = charge.most(body)
        if isinstance(most, bool) or not isinstance(most, int) or not 0 <= most <= MOST_UNITS:
            raise ValueError(f"`most` returned {most!r:.40}")
    except KaixuError:
        raise
    except Exception as error:  # a bug in a plugin must not end the gateway
        log.exception("`most` of the charge of %s failed", name)
        raise UpstreamError(f"`{name}` failed", hint="Tell your operator.", code="INTEGRATION_FAILED") from error
    return most


def limits_for(timeout_s: float) -> WireLimits:
    """The time limits of an operation's wire. Its handler is bounded as a whole."""
    return WireLimits(
        connect_s=min(10.0, timeout_s), first_byte_s=timeout_s, between_bytes_s=timeout_s, total_s=timeout_s, retries=0
    )


def submitter_of(ticket: OperationTicket) -> Submitter:
    """The customer and the key of an admitted call."""
    ask, verdict = ticket.ask, ticket.verdict
    return Submitter(
        ask.request_id, verdict.customer_id, verdict.key_id, ask.install_id, app_id=ask.app_id, build_id=ask.build_id
    )


def transactions_for(
    databases: PluginDatabases,
    reach: Reach,
    integration: IntegrationState,
    submitter: Submitter,
    what: Operation | Job | None = None,
    about: int | None = None,
    blobs_of: int | None = None,
) -> OpenTransaction:
    """Opens transactions for one call. Jobs submitted there belong to the call's customer and key.

    So do charges by key, of which it may hold those that `what` declares. `about`: the customer that an operator's call
    is about. `blobs_of`: the customer whose blobs it uses and whom it charges, if not the submitter's.
    """
    declared = integration.integration
    assert declared is not None
    jobs = {job.name: job for job in declared.jobs}

    free_jobs = frozenset(name for name, job in jobs.items() if isinstance(job.charge, Free))
    rights = Rights(
        integration.name, submitter.customer_id, about, integration.grants, submitter.request_id, free_jobs, reach
    )
    sealer = reach.sealer

    def make_job(name: str, payload: msgspec.Struct, delay_s: float, key: str | None, serial: str | None) -> NewJob:
        job = jobs.get(name)
        if job is None:
            raise ValueError(f"integration `{integration.name}` has no job `{name}`")
        if not isinstance(payload, job.payload):
            raise TypeError(f"job `{name}` takes a {job.payload.__name__}")
        if submitter.key_id is None and not isinstance(job.charge, Free):
            raise ValueError(f"job `{name}` has a price, and there is no key that it could be billed to")
        for what, text in (("key", key), ("serial", serial)):
            if text is not None and not 0 < len(text) <= MOST_NAME:
                raise ValueError(f"`{what}` of a job must have 1 to {MOST_NAME} characters")
        blobs = tuple(blob.id for blob in blobs_in(payload))
        if blobs and submitter.customer_id is None:
            raise ValueError(f"job `{name}` has no customer, so its payload cannot contain blobs")
        job_id = uuid4()
        # Nobody asks for the key of a job without admission, so that it can be revoked meanwhile.
        owner = submitter if job.admission == "call" else Submitter(submitter.request_id, submitter.customer_id)
        return NewJob(
            id=job_id,
            kind=name,
            customer_id=submitter.customer_id,
            key_id=owner.key_id,
            install_id=owner.install_id,
            app_id=owner.app_id,
            build_id=owner.build_id,
            request_id=submitter.request_id,
            payload=sealer.seal(msgspec.json.encode(payload), about_job(job_id, "payload")),
            provider=integration.name,
            model=name,
            most_attempts=job.retry.attempts,
            run_after_s=max(0.0, delay_s),
            unique_key=key,
            serial=serial,
            at_once=job.at_once,
            reports_failure=job.on_failed is not None,
            blobs=blobs,
        )

    webhooks = {webhook.name: webhook for webhook in declared.webhooks}

    def make_event(webhook: str, event: WebhookEvent, body: bytes) -> NewEvent | None:
        if webhook not in webhooks:
            raise ValueError(f"integration `{integration.name}` has no webhook `{webhook}`")
        require_names(event)
        return new_event(sealer, integration.name, webhooks[webhook], event, body, submitter.request_id)

    charging = charging_of(integration, submitter, what, blobs_of)

    def open_transaction(is_open: Callable[[], bool]) -> AbstractAsyncContextManager[Transaction]:
        opened = databases.transaction(
            integration.name,
            has_tables=declared.schema is not None,
            is_open=is_open,
            make_job=make_job,
            customer_id=submitter.customer_id,
            rights=rights,
            make_event=make_event,
            charging=charging,
            blobs_of=submitter.customer_id if blobs_of is None else blobs_of,
        )
        return charging_transaction(opened, databases, declared)

    return open_transaction


class LimitedWire(Protocol):
    """The wire of a call whose handler has limits."""

    @property
    def lent_secrets(self) -> Collection[str]: ...

    def begin(self) -> None: ...


class LimitedCall(Protocol):
    """A call whose handler has limits; also the view of a panel."""

    timer: Deadline | None

    @property
    def wire(self) -> LimitedWire: ...

    def note_running(self) -> None:
        """The handler begins."""
        ...

    async def end(self) -> None:
        """The handler has ended."""
        ...


class HandlerLimits:
    """What a handler's limits leave open. `goes_on`: the call is not over, because a stream of its reply follows."""

    goes_on = False


@asynccontextmanager
async def handler_limits(
    call: LimitedCall, name: str, timeout_s: float, *, may_pause: bool = False
) -> AsyncIterator[HandlerLimits]:
    """Limit a handler's time; turn what it raises into a `KaixuError`, without a secret that the call has used.

    `may_pause`: except `Again`, of a job.

    At the end nothing of the call still runs, unless it goes on.
    """
    call.wire.begin()
    limits = HandlerLimits()
    try:
        try:
            call.note_running()
            with within(timeout_s) as call.timer:
                yield limits
        finally:
            if not limits.goes_on:
                await call.end()
    except (asyncio.CancelledError, GeneratorExit):
        raise
    except KaixuError as error:
        without_secrets(error, call.wire.lent_secrets)
        raise
    except TimeoutError as error:
        raise UpstreamTimeout(f"`{name}` took longer than {timeout_s:g} s", code="OPERATION_TIMEOUT") from error
    except httpx.HTTPError as error:
        raise upstream_error(error) from error
    except Exception as error:
        if may_pause and isinstance(error, Again):
            raise
        # A bug in a plugin must not end the gateway.
        log.error("operation %s failed\n%s", name, logged_failure(error, call.wire.lent_secrets))
        failed = UpstreamError(f"`{name}` failed", hint="Tell your operator.", code="INTEGRATION_FAILED")
        raise failed from (None if call.wire.lent_secrets else error)
