"""The answer of a chat call for a client that gets nothing before its end."""

from __future__ import annotations

from kaixu.catalog.catalog import Deployment
from kaixu.plugin.deadline import within
from kaixu.plugin.errors import UpstreamError
from kaixu.plugin.event_batches import EventBatches
from kaixu.plugin.types import ChatEvent, Usage

from .chat import answer_in_cache, note_late_error
from .chat_ticket import ChatTicket
from .gate import Gate
from .lanes import translated
from .opener import Opener
from .opening import NO_ANSWER, Opened, close_stream
from .routing import try_deployments


async def whole_answer(gate: Gate, ticket: ChatTicket) -> list[ChatEvent]:
    """All events of the answer, which the vendor may give in one piece (see `PlainAnswers`).

    Limits, errors and `ticket.end_reason` are those of `chat_events`.
    """
    request_hash = gate.cache.request_hash(ticket)
    if request_hash is None:
        return await vendor_answer(gate, ticket)
    cached = await answer_in_cache(gate, ticket, request_hash)
    if cached is not None:
        return cached
    answer = await vendor_answer(gate, ticket)
    if ticket.cache_control != "no-store":
        gate.cache.store(ticket, request_hash, answer)
    return answer


async def vendor_answer(gate: Gate, ticket: ChatTicket) -> list[ChatEvent]:
    """As `whole_answer`, without the cache."""
    served: Deployment | None = None
    answer: list[ChatEvent] = []
    try:
        with within(ticket.wire.limits.total_s):
            served, opened = await try_deployments(
                gate.breakers, ticket.wire, ticket.choices, Opener(gate, ticket, plain=True), ticket.tried
            )
            ticket.served, answer = served, opened.buffered
            await read_on(ticket, opened)
    except Exception as raised:
        if served is None:
            error = translated(ticket, ticket.deployment, raised)
        elif isinstance(raised, TimeoutError) and (ticket.finish_reason or ticket.end_reason):
            note_late_error(ticket, raised)  # the answer is complete
            return answer
        else:
            error = translated(ticket, served, raised)
            gate.breakers.failed(served, error, had_begun=True)
        if error is raised:
            raise
        raise error from raised
    return answer


async def read_on(ticket: ChatTicket, opened: Opened) -> None:
    """Count all events of the answer, and add those that are still to come to `opened.buffered`."""
    answer, events = opened.buffered, opened.events
    try:
        for event in answer:
            ticket.count_event(event)
        batches = events if isinstance(events, EventBatches) else None
        while not ticket.over_budget:
            if batches is not None and batches.ready:
                event = batches.ready.pop(0)
                ticket.count_event(event)
                answer.append(event)
                continue
            try:
                event_or_end = await anext(events, None)
            except Exception as error:
                if ticket.finish_reason is None:
                    raise
                note_late_error(ticket, error)  # the answer is complete
                return
            if event_or_end is None:
                if ticket.finish_reason is None and ticket.first_event_s is None:
                    raise UpstreamError(NO_ANSWER)
                return
            ticket.count_event(event_or_end)
            answer.append(event_or_end)
        ticket.end_reason = "budget_cut"
        if ticket.asked_plain and ticket.wire.has_finished:
            await read_usage(ticket, opened)
    finally:
        await close_stream(events)


async def read_usage(ticket: ChatTicket, opened: Opened) -> None:
    """Read on for the usage alone: the vendor has made all of the answer, and its report says what that has cost."""
    try:
        async for event in opened.events:
            if isinstance(event, Usage):
                ticket.count_event(event)
    except Exception as error:  # noqa: BLE001 - the client's answer is complete
        note_late_error(ticket, error)
