"""The operations, jobs and schedules of integrations: their admission, and the call of their handlers.

Operations that take no key are in `keyless.py`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from math import ceil
from time import monotonic
from typing import Any

import msgspec

from kaixu.catalog.catalog import IntegrationState
from kaixu.plugin.access import Caller as PluginCaller
from kaixu.plugin.encoded_reply import EncodedReply, encode_item, encode_reply
from kaixu.plugin.operation import Free, Job, Operation, Schedule
from kaixu.plugin.replies import Events
from kaixu.store.admission import FREE, FREE_UNCOUNTED, Verdict
from kaixu.store.rights import Reach

from .admission import Admission
from .call_access import CallAccess
from .call_blobs import CallBlobs, UploadBody
from .callbacks import CallbackOwner, CallbackStart
from .charges import Meter
from .customer_data import CustomerData
from .gate import Caller, Gate
from .integration_wire import IntegrationWire
from .operation_call import (
    OperationCall,
    ReportProgress,
    handler_limits,
    limits_for,
    meter_for,
    submitter_of,
    transactions_for,
)
from .operation_ticket import OperationTicket
from .price_keys import operation_key
from .submitter import Submitter


def admit_operation(
    gate: Gate, caller: Caller, integration: IntegrationState, what: Operation | Job, body: object, body_bytes: int
) -> Admission[OperationTicket]:
    """Admission of an integration's operation, or of one of its jobs. See `run_operation` and `run_job`.

    Raises `Overloaded`, `Stopping`, `TooLarge`, `UpstreamError`.
    """
    meter = meter_for(integration, what, body, body_bytes)
    ask = gate.ask(
        caller,
        f"job:{what.name}" if isinstance(what, Job) else what.name,
        provider=integration.name,
        requested_provider=integration.name,
        model=what.name,
        price_id=gate.price_ids.get(
            operation_key(integration.name, what.name, what.charge, integration.prices_nusd), 0
        ),
        most_nusd=meter.most_nusd,
        least_nusd=least_of(what, meter.most_nusd),
        role="viewer" if isinstance(what, Job) else what.rank or "viewer",
        book=meter.book,
    )

    def make_ticket(verdict: Verdict) -> OperationTicket:
        wire = wire_for(gate, integration, what, meter, ask.request_id)
        wire.trace = ask.facts.trace
        return OperationTicket(ask, verdict, wire, meter, bills_failures=what.on_failure == "charge_counted")

    return gate.admission(ask, make_ticket)


def least_of(what: Operation | Job, most_nusd: int) -> int:
    """The least worth granting: all of its price; see `kaixu.store.admission.Ask`."""
    if not isinstance(what.charge, Free):
        return most_nusd
    return FREE if isinstance(what, Job) or what.key_rates else FREE_UNCOUNTED


def wire_for(
    gate: Gate, integration: IntegrationState, what: Operation | Job | Schedule, meter: Meter, request_id: str
) -> IntegrationWire:
    """The wire for one call."""
    return IntegrationWire(
        gate.transport,
        gate.public_transport,
        limits_for(what.timeout_s),
        request_id,
        hosts=integration.hosts,
        meter=meter,
    )


async def run_operation(
    gate: Gate,
    ticket: OperationTicket,
    integration: IntegrationState,
    what: Operation,
    body: msgspec.Struct,
    caller: PluginCaller,
    upload: UploadBody | None = None,
) -> tuple[EncodedReply, OperationCall]:
    """What the handler of an admitted operation answers, and its call. Its exceptions become `KaixuError`s.

    Of a stream only the beginning has happened by then, and the call goes on: see `write_stream`.
    """
    call = open_call(gate, ticket, integration, what, body, caller, upload=upload)
    began = monotonic()
    async with handler_limits(call, what.name, what.timeout_s) as limits:
        reply = encode_reply(await what.handler(call))
        if call.start is not None and call.start.cookie is not None:
            reply = msgspec.structs.replace(reply, cookie=call.start.cookie)
        limits.goes_on = isinstance(reply.body, Events)
    if isinstance(reply.body, bytes):
        ticket.meter.count("bytes_out", len(reply.body))
    if not isinstance(reply.body, Events):
        ticket.meter.count("seconds", ceil(monotonic() - began))
    return reply, call


async def run_job(
    gate: Gate,
    ticket: OperationTicket,
    integration: IntegrationState,
    what: Job,
    payload: msgspec.Struct,
    progress: ReportProgress | None = None,
    attempt: int = 1,
) -> bytes:
    """What the handler of an admitted job returns, as JSON.

    Its exceptions become `KaixuError`s, but it may raise `Again`.
    """
    call = open_call(gate, ticket, integration, what, payload, PluginCaller("job"), progress, attempt)
    began = monotonic()
    async with handler_limits(call, what.name, what.timeout_s, may_pause=True):
        result = msgspec.json.encode(await what.handler(call))
    ticket.meter.count("bytes_out", len(result))
    ticket.meter.count("seconds", ceil(monotonic() - began))
    return result


def open_call(
    gate: Gate,
    ticket: OperationTicket,
    integration: IntegrationState,
    what: Operation | Job,
    body: msgspec.Struct,
    caller: PluginCaller,
    progress: ReportProgress | None = None,
    attempt: int = 1,
    upload: UploadBody | None = None,
) -> OperationCall:
    """The call of an admitted operation or job."""
    assert isinstance(ticket.wire, IntegrationWire)
    ticket.wire.private_texts = lambda: (msgspec.json.encode(body).decode(),)
    return OperationCall(
        body=body,
        options=integration.options,
        customer_id=ticket.verdict.customer_id,
        key_id=ticket.verdict.key_id,
        request_id=ticket.ask.request_id,
        caller=caller,
        wire=ticket.wire,
        meter=ticket.meter,
        scratch=gate.scratch,
        open_transaction=transactions_for(
            gate.databases,
            reach_of(gate, integration, ticket.wire.lent_secrets),
            integration,
            submitter_of(ticket),
            what,
        ),
        customer_data=customer_data_for(
            gate, integration, ticket.verdict.customer_id, ticket.wire, ticket.ask.request_id
        ),
        access=CallAccess(gate, integration, ticket.verdict.customer_id, ticket.wire, ticket.ask.request_id),
        blobs=blobs_for(gate, integration, ticket.verdict.customer_id, ticket.wire),
        upload=upload,
        start=start_of(gate, ticket, integration, caller) if isinstance(what, Operation) else None,
        progress=progress,
        attempt=attempt,
    )


def start_of(gate: Gate, ticket: OperationTicket, integration: IntegrationState, caller: PluginCaller) -> CallbackStart:
    """What an admitted operation can begin with a browser."""
    ask, verdict = ticket.ask, ticket.verdict
    owner = CallbackOwner(
        verdict.customer_id, verdict.key_id, caller, ask.install_id, app_id=ask.app_id, build_id=ask.build_id
    )
    return CallbackStart(
        integration, owner, pool=lambda: gate.databases.pool, sealer=gate.sealer, public_url=gate.public_url
    )


async def write_stream(
    call: OperationCall,
    ticket: OperationTicket,
    what: Operation,
    events: Events,
    put: Callable[[str | None, bytes], Awaitable[int]],
) -> None:
    """Pass each event of a stream to `put`, which returns the bytes it has sent. Raises `KaixuError`."""
    began = monotonic()
    try:
        async with handler_limits(call, what.name, what.timeout_s), closing(events.stream) as stream:
            async for item in stream:
                sent = await put(*encode_item(item))
                ticket.has_delivered = True
                ticket.meter.count("bytes_out", sent)
    finally:
        ticket.meter.count("seconds", ceil(monotonic() - began))


@asynccontextmanager
async def closing(stream: AsyncIterator[Any]) -> AsyncIterator[AsyncIterator[Any]]:
    """Close a stream at the end, if it can be closed."""
    try:
        yield stream
    finally:
        if (close := getattr(stream, "aclose", None)) is not None:
            await close()


async def run_unbilled(
    gate: Gate,
    integration: IntegrationState,
    what: Job | Schedule,
    payload: msgspec.Struct | None,
    request_id: str,
    progress: ReportProgress | None = None,
    attempt: int = 1,
    customer_id: int | None = None,
) -> bytes:
    """Run a schedule, or a free job without a key, perhaps for a customer: nothing is billed. Returns the result.

    Raises `KaixuError`; the handler of a job may raise `Again`.
    """
    charge = Free(what.why_free) if isinstance(what, Schedule) else what.charge
    assert isinstance(charge, Free)
    meter = Meter(charge, 0)
    wire = wire_for(gate, integration, what, meter, request_id)
    call = OperationCall(
        body=payload,
        options=integration.options,
        customer_id=customer_id,
        key_id=None,
        request_id=request_id,
        caller=PluginCaller("schedule" if isinstance(what, Schedule) else "job"),
        wire=wire,
        meter=meter,
        scratch=gate.scratch,
        open_transaction=transactions_for(
            gate.databases,
            reach_of(gate, integration, wire.lent_secrets),
            integration,
            Submitter(request_id, customer_id),
            what if isinstance(what, Job) else None,
        ),
        customer_data=customer_data_for(gate, integration, customer_id, wire, request_id),
        access=CallAccess(gate, integration, customer_id, wire, request_id),
        blobs=blobs_for(gate, integration, customer_id, wire),
        progress=progress,
        attempt=attempt,
    )
    try:
        async with handler_limits(call, what.name, what.timeout_s, may_pause=isinstance(what, Job)):
            result = await what.handler(call)
            return b"null" if isinstance(what, Schedule) or result is None else msgspec.json.encode(result)
    finally:
        wire.close()


def blobs_for(gate: Gate, integration: IntegrationState, customer_id: int | None, wire: IntegrationWire) -> CallBlobs:
    """What one call may do with its customer's blobs."""
    return CallBlobs(
        gate.blobs, integration.name, customer_id, pool=lambda: gate.databases.pool, sealer=gate.sealer, wire=wire
    )


def customer_data_for(
    gate: Gate,
    integration: IntegrationState,
    customer_id: int | None,
    wire: IntegrationWire,
    request_id: str,
    actor: str | None = None,
) -> CustomerData:
    """What one call may use of its customer's secrets and settings. `actor`: see `reach_of`."""
    return CustomerData(
        reach_of(gate, integration, wire.lent_secrets, actor),
        customer_id,
        pool=lambda: gate.databases.pool,
        wire=wire,
        request_id=request_id,
    )


def reach_of(gate: Gate, integration: IntegrationState, lent_secrets: set[str], actor: str | None = None) -> Reach:
    """What one call needs to do something for customers. `actor`: who does it, by default the integration."""
    declared = integration.integration
    assert declared is not None
    return Reach(
        declared,
        gate.sealer,
        actor or f"integration:{declared.name}",
        lent_secrets,
        gate.sends_mail,
        gate.public_url,
    )
