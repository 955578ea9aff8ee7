"""The answer of an admitted chat call: collected as a whole, or streamed; settled before its last byte is sent."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from math import inf
from typing import Protocol

from kaixu.edge.errors import failed_stream_event
from kaixu.edge.response import SSE, Reply
from kaixu.edge.services import Services
from kaixu.edge.sse import EventStream, wait_to_end
from kaixu.metering.admission import Admission
from kaixu.metering.chat import chat_events
from kaixu.metering.chat_ticket import ChatTicket
from kaixu.metering.left_early import reasons
from kaixu.plugin.errors import KaixuError, Stopping
from kaixu.plugin.types import ChatEvent

from .call_replies import call_headers

log = logging.getLogger(__name__)

#: How long a vendor that has ended its answer may take to report the usage after the client has left.
USAGE_DUE_S = 2.0

#: How long a stream waits for its first byte, so that a failure before it still gets an HTTP status of its own.
PATIENCE_S = 10.0


class StreamEncoder(Protocol):
    """Writes one call's stream in the protocol of its client. Each method returns whole frames, b"" for none."""

    def ping(self) -> bytes:
        """Sent when nothing else was sent for a while."""
        ...

    def begin(self, ticket: ChatTicket) -> bytes:
        """Sent at once, before the vendor answers."""
        ...

    def event(self, event: ChatEvent) -> bytes:
        """Sent for one event of the lane."""
        ...

    def done(self, ticket: ChatTicket) -> bytes:
        """Sent after the call was settled."""
        ...

    def failed(self, error: KaixuError, ticket: ChatTicket) -> bytes:
        """Sent after the call was settled, if it failed when part of the answer was sent."""
        ...


async def collect_answer(services: Services, admission: Admission[ChatTicket]) -> tuple[ChatTicket, list[ChatEvent]]:
    """The settled ticket, and all events of the lane."""
    # A client that leaves does not always end the vendor's call, so the call runs in a task of its own.
    task = asyncio.ensure_future(run_call(services, admission))
    try:
        return await asyncio.shield(task)
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
        task.add_done_callback(log_unexpected_failure)
        raise


async def run_call(services: Services, admission: Admission[ChatTicket]) -> tuple[ChatTicket, list[ChatEvent]]:
    """Enter the admission, read every event, and leave it, which settles the call."""
    async with admission as ticket, aclosing(chat_events(services.gate, ticket)) as lane_events:
        events = [event async for event in lane_events]
    return ticket, events


def continue_s(admission: Admission[ChatTicket]) -> float:
    """For how many seconds the vendor's answer is still read after the client has left."""
    if admission.ticket is None:
        return 0.0  # nothing was sent to a vendor
    if is_read_to_end(admission.ticket):
        return inf
    # An answer that has ended: its usage is due at once, and the exact bill is better than a bound.
    return USAGE_DUE_S if admission.ticket.has_ended else 0.0


def is_read_to_end(ticket: ChatTicket) -> bool:
    """Whether the vendor's answer is read to its end although the client has left."""
    if ticket.deployment.on_disconnect is not None:
        return ticket.deployment.on_disconnect == "drain"
    return any(reasons(choice, ticket.request) for choice in ticket.choices)


def log_unexpected_failure(task: asyncio.Future[tuple[ChatTicket, list[ChatEvent]]]) -> None:
    """Log a bug in a call that nobody waits for any more."""
    if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, KaixuError):
        log.error("a call whose client had left failed", exc_info=error)


async def stream_answer(
    services: Services, admission: Admission[ChatTicket], encoder: StreamEncoder, *, patience_s: float = 0.0
) -> Reply:
    """The answer as a stream.

    With `patience_s` the reply begins at the first frame, or after that time: until
    then a failure still has an HTTP status of its own.
    """
    # A refusal still has a status of its own. `write` leaves the admission's block.
    ticket = await admission.__aenter__()

    async def write(out: EventStream) -> None:
        out.begun = True
        task = asyncio.current_task()
        assert task is not None
        admission.hand_over(task)
        await write_stream(services, admission, ticket, encoder, out)

    async def never_begun() -> None:
        await admission.__aexit__(GeneratorExit, GeneratorExit(), None)

    def client_left() -> float:
        services.gate.calls.client_left(ticket)
        return continue_s(admission)

    body = EventStream(write, never_begun, read_on_s=client_left, ping=encoder.ping)
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
    """Write one stream's frames and settle; the last frame follows after the settlement is stored.

    Raises a failure before the first frame: then it can have an HTTP status of its own.
    """
    failure: KaixuError | None = None
    try:
        await out.put(encoder.begin(ticket))
        # Closed before it is settled: then the vendor has seen the cancel.
        async with aclosing(chat_events(services.gate, ticket)) as events:
            async for event in events:
                await out.put(encoder.event(event))
    except Exception as error:
        if isinstance(error, KaixuError):
            failure = error
        else:
            log.exception("stream %s failed", ticket.ask.request_id)
            failure = KaixuError("something went wrong here", hint="Quote the request id to your operator.")
        if ticket.first_event_s is not None:
            ticket.end_reason = "upstream_error"  # what was delivered is paid for
    except BaseException as error:
        is_stop = ticket.stopped and not ticket.left  # the gateway's own stop, not the client's
        if is_stop and ticket.first_event_s is not None:
            ticket.end_reason = "upstream_error"
        if not is_stop or out.gone or not isinstance(error, asyncio.CancelledError):
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
    # The status was 200 already, so nothing else reports this failure to the monitor.
    services.monitor.record(failed_stream_event(failure, ticket))
    await out.put(encoder.failed(failure, ticket))
