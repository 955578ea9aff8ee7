"""What all doors of chat calls share: admission, the answer in one piece, the answer as a stream."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from math import inf
from typing import Any, Protocol

import msgspec

from kaixu.catalog.catalog import Deployment
from kaixu.config.price import usd
from kaixu.edge.errors import rate_headers, stream_failed
from kaixu.edge.response import SSE, Reply
from kaixu.edge.services import Services
from kaixu.edge.sse import EventStream, waited
from kaixu.metering.admission import Admission
from kaixu.metering.chat import admit_chat, chat_events
from kaixu.metering.chat_ticket import ChatTicket
from kaixu.metering.gate import Caller
from kaixu.metering.left_early import reasons
from kaixu.metering.model_ticket import ModelTicket
from kaixu.metering.ticket import Ticket
from kaixu.plugin.errors import KaixuError, Stopping, Unsupported
from kaixu.plugin.types import ChatEvent, ChatRequest

log = logging.getLogger(__name__)

#: When the whole minute's limit is free again: a sliding window empties this long after its newest call.
WINDOW_S = 60

#: So many names of dropped fields are told in a header, and so much of each.
MOST_NAMES = 20
MOST_NAME = 100
NOT_IN_HEADERS = re.compile(r"[^A-Za-z0-9_.\[\]-]")

#: How long a vendor that has ended its answer may take to tell the usage to a client that is gone.
USAGE_DUE_S = 2.0

#: How long a door whose clients expect an error's own status waits for the vendor before it begins to answer.
PATIENCE_S = 10.0


class ChatCall(msgspec.Struct, frozen=True):
    """A chat call as it was asked for. `asked_provider`: the name by which the deployment was found."""

    caller: Caller
    deployment: Deployment
    asked_provider: str
    request: ChatRequest


class StreamEncoder(Protocol):
    """Writes one call's stream in a door's own words. Each method gives whole frames, b"" for none."""

    def ping(self) -> bytes:
        """Said where nothing else was for a while."""
        ...

    def begin(self, ticket: ChatTicket) -> bytes:
        """Said at once, before the vendor answers."""
        ...

    def event(self, event: ChatEvent) -> bytes:
        """Said for one event of the lane."""
        ...

    def done(self, ticket: ChatTicket) -> bytes:
        """Said after the call was settled."""
        ...

    def failed(self, error: KaixuError, ticket: ChatTicket) -> bytes:
        """Said after the call was settled, where it failed when part of it was out."""
        ...


def admission(
    services: Services, asking: ChatCall, fields: Mapping[str, str], *, operation: str = "chat"
) -> Admission[ChatTicket]:
    """See `admit_chat`. `fields`: what a door calls the contract's features, for the error of one that is refused."""
    try:
        return admit_chat(
            services.gate, asking.caller, asking.deployment, asking.asked_provider, asking.request, operation=operation
        )
    except Unsupported as error:
        field = error.field or ""
        raise Unsupported(fields.get(field, field), error.why) from None


async def answered(services: Services, call: Admission[ChatTicket]) -> tuple[ChatTicket, list[ChatEvent]]:
    """Everything the lane says, and the ticket, settled."""
    # A client that leaves does not always end the vendor's call: that goes on in a task of its own.
    task = asyncio.ensure_future(collected(services, call))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if task.done():
            raise
        if call.ticket is not None:
            services.gate.calls.client_left(call.ticket)
        further_s = read_on_s(call)
        if further_s == 0:
            task.cancel()
            await waited(task)
            raise
        if further_s != inf:
            asyncio.get_running_loop().call_later(further_s, task.cancel)
        task.add_done_callback(passed_over)
        raise


def read_on_s(call: Admission[ChatTicket]) -> float:
    """For how many seconds the vendor's answer is read on though the client has gone."""
    if call.ticket is None:
        return 0.0  # nothing went to a vendor
    if drains(call.ticket):
        return inf
    # An answer that has ended: its usage is due at once, and the exact bill is better than a bound.
    return USAGE_DUE_S if call.ticket.has_ended else 0.0


def passed_over(task: asyncio.Future[tuple[ChatTicket, list[ChatEvent]]]) -> None:
    """What a call came to that nobody waits for any more."""
    if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, KaixuError):
        log.error("a call whose client had left failed", exc_info=error)


def drains(ticket: ChatTicket) -> bool:
    """Whether the vendor's answer is read to its end though the client has gone."""
    if ticket.deployment.on_disconnect is not None:
        return ticket.deployment.on_disconnect == "drain"
    return any(reasons(one, ticket.request) for one in ticket.choices)


async def collected(services: Services, call: Admission[ChatTicket]) -> tuple[ChatTicket, list[ChatEvent]]:
    """See `answered`."""
    async with call as ticket, aclosing(chat_events(services.gate, ticket)) as events:
        said = [event async for event in events]
    return ticket, said


async def streamed(
    services: Services, call: Admission[ChatTicket], encoder: StreamEncoder, *, patience_s: float = 0.0
) -> Reply:
    """The answer as a stream.

    With `patience_s` the reply begins when there is something to say, or after that
    time: until then a failure still has a status of its own.
    """
    ticket = await call.__aenter__()  # a refusal still has a status of its own; `speak` leaves the block

    async def speak(out: EventStream) -> None:
        out.begun = True
        task = asyncio.current_task()
        assert task is not None
        call.hand_over(task)
        await spoken(services, call, ticket, encoder, out)

    async def never_begun() -> None:
        await call.__aexit__(GeneratorExit, GeneratorExit(), None)

    def left() -> float:
        services.gate.calls.client_left(ticket)
        return read_on_s(call)

    body = EventStream(speak, never_begun, read_on_s=left, ping=encoder.ping)
    if patience_s:
        try:
            await body.first(patience_s)
        except BaseException:
            await body.aclose()
            raise
    headers = {"content-type": SSE, "cache-control": "no-cache, no-transform", "x-accel-buffering": "no"}
    return Reply(200, headers | call_headers(ticket), body)


async def spoken(
    services: Services, call: Admission[ChatTicket], ticket: ChatTicket, encoder: StreamEncoder, out: EventStream
) -> None:
    """Write one stream's frames and settle; the last frame follows after the money is written.

    Raises what failed where nothing was said yet: then it can have a status of its own.
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
        is_stop = ticket.stopped and not ticket.left  # the gateway's own doing, not the client's
        if is_stop and ticket.first_event_s is not None:
            ticket.end_reason = "upstream_error"
        if not is_stop or out.gone or not isinstance(error, asyncio.CancelledError):
            await call.__aexit__(type(error), error, None)
            raise
        failure = Stopping("the gateway is shutting down", hint="Try again in a moment.", retry_after_s=2)
    await call.__aexit__(None if failure is None else type(failure), failure, None)
    if failure is None:
        await out.put(encoder.done(ticket))
        return
    if not out.said:
        raise failure
    log.warning("stream %s: %s", ticket.ask.request_id, failure.message)
    services.monitor.record(stream_failed(failure, ticket))  # it was 200 already: nobody else tells of it
    await out.put(encoder.failed(failure, ticket))


def call_headers(ticket: Ticket) -> dict[str, str]:
    """What an admitted call's reply says in headers: its rate, and which fields of the request were dropped."""
    headers = rate_headers(ticket.verdict.rate_limit, ticket.verdict.rate_remaining, WINDOW_S)
    if isinstance(ticket, ChatTicket) and ticket.request.dropped:
        headers["x-kaixu-dropped-fields"] = dropped_header(ticket.request.dropped)
    return headers


def dropped_header(dropped: Sequence[str]) -> str:
    """The names of dropped fields, comma-separated, in the characters a header may have; `...` where there are more."""
    names = [NOT_IN_HEADERS.sub("?", name)[:MOST_NAME] for name in dict.fromkeys(dropped)]
    return ", ".join(names[:MOST_NAMES] + (["..."] if len(names) > MOST_NAMES else []))


def bill_of(ticket: ModelTicket) -> dict[str, Any]:
    """What doors of other protocols tell beside their own usage, under `kaixu`."""
    settled, deployment = ticket.settlement, ticket.deployment
    assert settled is not None
    bill: dict[str, Any] = {
        "provider": deployment.shown_provider,
        "model": deployment.model,
        "cost_usd": usd(settled.cost_nusd),
        "usage_source": settled.usage_source,
        "end": settled.end_reason,
        **routing_of(ticket),
    }
    if isinstance(ticket, ChatTicket) and ticket.lowered:
        bill["max_tokens_applied"] = ticket.request.max_tokens
    return bill


def routing_of(ticket: ModelTicket) -> dict[str, Any]:
    """Which deployment served, and how many tries that took; or that the answer had been kept."""
    routing: dict[str, Any] = {"deployment": None if ticket.served is None else ticket.served.name}
    routing["tries"] = len(ticket.tried)
    if ticket.deployment.cache is not None:
        routing["cache"] = "hit" if isinstance(ticket, ChatTicket) and ticket.from_cache else "miss"
    return routing
