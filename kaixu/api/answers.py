"""The answer of an admitted chat call, whole or streamed; settled before its last byte is sent."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from functools import partial
from math import inf
from typing import Protocol

from kaixu.edge.response import SSE, Reply
from kaixu.edge.services import Services
from kaixu.edge.sse import EventStream, wait_to_end
from kaixu.metering.admission import Admission
from kaixu.metering.chat import chat_events
from kaixu.metering.chat_ticket import ChatTicket
from kaixu.metering.left_early import may_reason
from kaixu.metering.whole_answer import whole_answer
from kaixu.ops.failure_events import late_failure_event
from kaixu.ops.finish import follow
from kaixu.plugin.deadline import CallTimer
from kaixu.plugin.errors import KaixuError, Stopping
from kaixu.plugin.types import ChatEvent

from .call_replies import call_headers

log = logging.getLogger(__name__)

#: After the client has disconnected: how long to wait for the usage of an answer that has ended.
USAGE_DUE_S = 2.0

#: How long a stream waits for its first byte, so that an earlier failure still gets its own HTTP status.
PATIENCE_S = 10.0


class StreamEncoder(Protocol):
    """Encodes a call's stream in the client's protocol. Each method returns complete frames, or b"" for none."""

    def ping(self) -> bytes:
        """Sent on an idle stream."""
        ...

    def begin(self, ticket: ChatTicket) -> bytes:
        """Sent first, before the vendor answers."""
        ...

    def event(self, event: ChatEvent) -> bytes:
        """Sent for an event of the lane."""
        ...

    def done(self, ticket: ChatTicket) -> bytes:
        """Sent after the call was settled."""
        ...

    def failed(self, error: KaixuError, ticket: ChatTicket) -> bytes:
        """Sent after the call was settled, if it failed after part of the answer was sent."""
        ...


async def collect_answer(services: Services, admission: Admission[ChatTicket]) -> tuple[ChatTicket, list[ChatEvent]]:
    """Run the call; return the settled ticket and all events of the lane."""
    # The call may go on after the client has disconnected, so it runs in its own task.
    task = asyncio.get_running_loop().create_task(run_call(services, admission))
    try:
        return await follow(task)
    except asyncio.CancelledError:
        if task.done():
            raise
        if admission.ticket is not None:
            services.gate.calls.client_left(admission.ticket)
        further_s = continue_s(admission)
        if further_s == 0:
            task.cancel()
            await wait_to_end(task)
            raise
        if further_s != inf:
            asyncio.get_running_loop().call_later(further_s, task.cancel)
        task.add_done_callback(partial(note_late_failure, services, admission))
        raise


async def run_call(services: Services, admission: Admission[ChatTicket]) -> tuple[ChatTicket, list[ChatEvent]]:
    """Admit the call, read all events, and settle it."""
    with CallTimer():  # this task is not the request's
        async with admission as ticket:
            events = await whole_answer(services.gate, ticket)
    return ticket, events


def continue_s(admission: Admission[ChatTicket]) -> float:
    """For how many seconds the vendor's answer is still read after the client has disconnected."""
    if admission.ticket is None:
        return 0.0  # nothing was sent to a vendor
    if is_read_to_end(admission.ticket):
        return inf
    # After its end, the usage comes soon, and an exact bill is better than an estimate.
    return USAGE_DUE_S if admission.ticket.has_ended else 0.0


def is_read_to_end(ticket: ChatTicket) -> bool:
    """Whether the vendor's answer is read to its end after the client has disconnected."""
    if ticket.deployment.on_disconnect is not None:
        return ticket.deployment.on_disconnect == "drain"
    return any(may_reason(choice, ticket.request) for choice in ticket.choices)


def note_late_failure(
    services: Services, admission: Admission[ChatTicket], task: asyncio.Future[tuple[ChatTicket, list[ChatEvent]]]
) -> None:
    """Record the error of a call whose client has disconnected."""
    if task.cancelled() or (error := task.exception()) is None or admission.ticket is None:
        return
    ticket = admission.ticket
    if not isinstance(error, KaixuError):
        log.error("call %s failed after its client had disconnected", ticket.ask.request_id, exc_info=error)
        error = KaixuError("something went wrong here")
    ticket.ask.facts.failed(error)
    record_late_failure(services, ticket)


def record_late_failure(services: Services, ticket: ChatTicket) -> None:
    """Record a failure after the client had disconnected, when the request's own record was already made."""
    ask = ticket.ask
    services.monitor.record(late_failure_event(ask.facts, request_id=ask.request_id, function=ask.operation))


async def stream_answer(
    services: Services, admission: Admission[ChatTicket], encoder: StreamEncoder, *, patience_s: float = 0.0
) -> Reply:
    """The answer as a stream.

    With `patience_s` the reply begins with the first frame, or after that time, so that an earlier failure still gets
    its own HTTP status.
    """
    # A refusal is raised here, with its own HTTP status. `write_stream` exits the admission.
    ticket = await admission.__aenter__()

    async def write(out: EventStream) -> None:
        out.started = True
        task = asyncio.current_task()
        assert task is not None
        admission.transfer_to(task)
        await write_stream(services, admission, ticket, encoder, out)

    async def abandon() -> None:
        await admission.__aexit__(GeneratorExit, GeneratorExit(), None)

    def client_left() -> float:
        services.gate.calls.client_left(ticket)
        return continue_s(admission)

    body = EventStream(write, abandon, read_on_s=client_left, ping=encoder.ping)
    if patience_s:
        try:
            await body.first(patience_s)
        except BaseException:
            await body.aclose()
            raise
    headers = {"content-type": SSE, "cache-control": "no-cache, no-transform", "x-accel-buffering": "no"}
    return Reply(200, headers | call_headers(ticket), body)


async def write_stream(
    services: Services, admission: Admission[ChatTicket], ticket: ChatTicket, encoder: StreamEncoder, out: EventStream
) -> None:
    """Write a stream's frames and settle the call; the last frame follows the settlement.

    Raises a failure before the first frame, which can still have its own HTTP status.
    """
    failure: KaixuError | None = None
    try:
        await out.put(encoder.begin(ticket))
        # Closed before the settlement, so that the vendor has been cancelled.
        async with aclosing(chat_events(services.gate, ticket)) as batches:
            async for events in batches:
                if len(events) == 1:
                    await out.put(encoder.event(events[0]))
                else:
                    await out.put(b"".join([encoder.event(event) for event in events]))
    except Exception as error:
        if isinstance(error, KaixuError):
            failure = error
        else:
            log.exception("stream %s failed", ticket.ask.request_id)
            failure = KaixuError("something went wrong here", hint="Quote the request id to your operator.")
        if ticket.first_event_s is not None:
            ticket.end_reason = "upstream_error"  # the delivered part is billed
    except BaseException as error:
        is_stop = ticket.stopped_by_gateway and not ticket.client_left  # not by the client
        if is_stop and ticket.first_event_s is not None:
            ticket.end_reason = "upstream_error"
        if not is_stop or out.is_disconnected or not isinstance(error, asyncio.CancelledError):
            await admission.__aexit__(type(error), error, None)
            raise
        failure = Stopping("the gateway is shutting down", hint="Try again in a moment.", retry_after_s=2)
    await admission.__aexit__(None if failure is None else type(failure), failure, None)
    if failure is None:
        await out.put(encoder.done(ticket))
        return
    if not out.is_committed:
        raise failure
    log.warning("stream %s: %s", ticket.ask.request_id, failure.message)
    ticket.ask.facts.failed(failure)  # the status was already 200, so nothing else notes this failure
    if out.is_disconnected:
        record_late_failure(services, ticket)
    await out.put(encoder.failed(failure, ticket))
