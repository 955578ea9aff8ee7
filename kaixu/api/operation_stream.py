"""The stream of events that an operation answers with; the call is settled when it ends, or when the client leaves."""

from __future__ import annotations

import asyncio
import logging

import msgspec

from kaixu.edge.errors import envelope
from kaixu.edge.response import SSE, Reply
from kaixu.edge.services import Services
from kaixu.edge.sse import EventStream, data_frame, frame
from kaixu.metering.admission import Admission
from kaixu.metering.integrations import write_stream
from kaixu.metering.operation_call import OperationCall
from kaixu.metering.operation_ticket import OperationTicket
from kaixu.plugin.errors import KaixuError, Stopping
from kaixu.plugin.operation import Operation
from kaixu.plugin.replies import Events

from .call_replies import call_headers

log = logging.getLogger(__name__)

#: How long the reply waits for the first event, so that an earlier failure still gets its own status.
PATIENCE_S = 1.0


async def stream_reply(
    services: Services,
    admission: Admission[OperationTicket],
    ticket: OperationTicket,
    call: OperationCall,
    operation: Operation,
    events: Events,
) -> Reply:
    """The reply. Raises what the stream raises before its first event, after the call was settled."""

    async def write(out: EventStream) -> None:
        out.started = True
        task = asyncio.current_task()
        assert task is not None
        admission.transfer_to(task)
        await write_and_settle(admission, ticket, call, operation, events, out)

    async def abandon() -> None:
        try:
            await call.end()
        finally:  # the call is settled whatever becomes of its threads and files
            await admission.__aexit__(GeneratorExit, GeneratorExit(), None)

    def client_left() -> float:
        services.gate.calls.client_left(ticket)
        return 0.0

    body = EventStream(write, abandon, read_on_s=client_left)
    try:
        await body.first(PATIENCE_S)
    except BaseException:
        await body.aclose()
        raise
    headers = {"content-type": SSE, "cache-control": "no-cache, no-transform", "x-accel-buffering": "no"}
    return Reply(200, headers | call_headers(ticket), body)


async def write_and_settle(
    admission: Admission[OperationTicket],
    ticket: OperationTicket,
    call: OperationCall,
    operation: Operation,
    events: Events,
    out: EventStream,
) -> None:
    """Write all events and settle the call. A failure after the first event is sent as an event `error`."""

    async def put(name: str | None, data: bytes) -> int:
        raw = msgspec.Raw(data)
        encoded = data_frame(raw) if name is None else frame(name, raw)
        await out.put(encoded)
        return len(encoded)

    failure: KaixuError | None = None
    try:
        await write_stream(call, ticket, operation, events, put)
    except KaixuError as error:
        failure = error
    except BaseException as error:
        is_stop = ticket.stopped_by_gateway and not ticket.client_left  # not by the client
        if not is_stop or out.is_disconnected or not isinstance(error, asyncio.CancelledError):
            await admission.__aexit__(type(error), error, None)
            raise
        failure = Stopping("the gateway is shutting down", hint="Try again in a moment.", retry_after_s=2)
    await admission.__aexit__(None if failure is None else type(failure), failure, None)
    if failure is None:
        return
    if not out.is_committed:
        raise failure
    log.warning("stream %s: %s", ticket.ask.request_id, failure.message)
    ticket.ask.facts.failed(failure)  # the status was already 200, so nothing else notes this failure
    await out.put(frame("error", envelope(failure, ticket.ask.request_id) | {"status": failure.status}))
