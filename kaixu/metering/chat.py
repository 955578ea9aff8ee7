"""Chat calls: their admission, and the events that a lane or the cache answers with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from types import TracebackType

from kaixu.catalog.catalog import Catalog, Deployment
from kaixu.plugin.deadline import Deadline
from kaixu.plugin.errors import UpstreamError
from kaixu.plugin.event_batches import EventBatches
from kaixu.plugin.types import ChatEvent, ChatRequest
from kaixu.store.admission import Ask, Verdict

from .admission import Admission, Offer
from .breakers import Breakers
from .ceiling import ceiling_of, highest_ceiling, lowered_to_grant
from .chat_ticket import ChatTicket
from .gate import Caller, Gate
from .lanes import supporting_deployments, translate_errors
from .native_fields import with_known_fields
from .opener import Opener
from .opening import NO_ANSWER
from .preamble import with_preamble
from .price_keys import model_key
from .routing import try_deployments, widest_limits


def admit_chat(
    gate: Gate,
    caller: Caller,
    deployment: Deployment,
    requested_provider: str,
    request: ChatRequest,
    *,
    operation: str = "chat",
    price: str = "",
) -> Admission[ChatTicket]:
    """Admission of one chat call, as a context that settles when it is left.

    `requested_provider` is the name by which the deployment was found (see `Catalog.resolve`), `price` says which of
    the model's prices it is billed by (see `Deployment.prices`).

    Raises, before any query: `LaneOff`, `PluginFailed`, `Unsupported`, `UnpricedModel`, `Unprocessable`,
    `Overloaded`, `Stopping`.
    """
    Catalog.ready(deployment)
    deployment = deployment.priced(price)
    request = with_preamble(with_known_fields(request, deployment), deployment.preamble)

    def offer_of(priced: Deployment, ask: Ask | None) -> Offer[ChatTicket]:
        choices = supporting_deployments(priced, request)
        ceiling = highest_ceiling(ceiling_of(request, one) for one in choices)
        if ask is None:
            ask = gate.model_ask(caller, operation, priced, requested_provider, ceiling, user=request.user)
        else:
            ask = gate.repriced(ask, priced, ceiling)

        def make_ticket(verdict: Verdict) -> ChatTicket:
            granted = lowered_to_grant(request, ceiling, verdict.granted_nusd or 0, verdict.granted_tokens)
            return ChatTicket(
                ask,
                verdict,
                gate.wire(ask, widest_limits(choices)),
                ceiling,
                deployment=priced,
                choices=choices,
                request=granted,
                lowered=granted is not request,
                cache_control=caller.cache_control,
            )

        return Offer(ask, make_ticket)

    return gate.priced_admission(deployment, offer_of)


def chat_events(gate: Gate, ticket: ChatTicket) -> AsyncGenerator[list[ChatEvent], None]:
    """The answer of one of the model's deployments, within their time limits, ended when the budget is spent.

    It comes as the vendor sends it, what came together in one list; for a client that gets nothing before the end see
    `whole_answer`.
    Yields nothing before a deployment has begun to answer: until then another one can be tried. Every exception of a
    plugin becomes a `KaixuError`. Sets `ticket.end_reason` to "budget_cut" if the stream was ended for its cost.
    """
    request_hash = gate.cache.request_hash(ticket)
    if request_hash is None:
        return vendor_events(gate, ticket)
    return cached_events(gate, ticket, request_hash)


async def cached_events(gate: Gate, ticket: ChatTicket, request_hash: bytes) -> AsyncGenerator[list[ChatEvent], None]:
    """As `chat_events`, from the cache or for it."""
    cached = await answer_in_cache(gate, ticket, request_hash)
    if cached is not None:
        yield cached
        return
    answer: list[ChatEvent] = []
    async with aclosing(vendor_events(gate, ticket)) as batches:
        async for events in batches:
            answer += events
            yield events
    if ticket.cache_control != "no-store":
        gate.cache.store(ticket, request_hash, answer)


async def answer_in_cache(gate: Gate, ticket: ChatTicket, request_hash: bytes) -> list[ChatEvent] | None:
    """The cached answer; all of it is counted, and so billed, even if the client leaves before its end."""
    cached = await gate.cache.find(ticket, request_hash) if ticket.cache_control == "" else None
    if cached is not None:
        ticket.answer_from_cache(gate.price_ids.get(model_key(ticket.deployment, ticket.deployment.cached_price), 0))
        for event in cached:
            ticket.count_event(event)
    return cached


async def vendor_events(gate: Gate, ticket: ChatTicket) -> AsyncGenerator[list[ChatEvent], None]:
    """As `chat_events`, without the cache."""
    deadline = asyncio.get_running_loop().time() + ticket.wire.limits.total_s
    with translate_errors(ticket, ticket.deployment), Deadline(deadline):
        ticket.served, opened = await try_deployments(
            gate.breakers, ticket.wire, ticket.choices, Opener(gate, ticket), ticket.tried
        )
    served = ticket.served
    with count_as_failure(gate.breakers, served), translate_errors(ticket, served):
        async with aclosing(opened.events) as events, aclosing(batches_of(events)) as batches:
            for event in opened.buffered:
                ticket.count_event(event)
            yield opened.buffered
            batch = events.take_ready() if isinstance(events, EventBatches) else []
            limit = Deadline(deadline)
            while not ticket.over_budget:
                try:
                    # Limits the lane's own work only, not the time that the reader spends on its events.
                    if not batch:
                        with limit:
                            batch = await anext(batches)
                except StopAsyncIteration:
                    if ticket.finish_reason is None and ticket.first_event_s is None:
                        raise UpstreamError(NO_ANSWER) from None
                    return
                except Exception as error:
                    if ticket.finish_reason is None:
                        raise
                    note_late_error(ticket, error)  # the answer is complete
                    return
                counted = 0
                try:
                    for event in batch:
                        ticket.count_event(event)
                        counted += 1
                        if ticket.over_budget:
                            break
                except Exception:
                    if counted:  # what came before it is good
                        yield batch[:counted]
                    raise
                yield batch[:counted]
                batch = []
            ticket.end_reason = "budget_cut"


def batches_of(events: AsyncGenerator[ChatEvent, None] | EventBatches) -> AsyncGenerator[list[ChatEvent], None]:
    """What a lane answers, in lists."""
    return events.batches if isinstance(events, EventBatches) else each_alone(events)


async def each_alone(events: AsyncGenerator[ChatEvent, None]) -> AsyncGenerator[list[ChatEvent], None]:
    """Each event in a list of its own."""
    async for event in events:
        yield [event]


def note_late_error(ticket: ChatTicket, error: Exception) -> None:
    """Note an error that came after the finish reason."""
    ticket.wire.note(f"{type(error).__name__} after the end of an answer")


class count_as_failure:
    """A deployment that breaks off in the middle of its answer counts as failed."""

    __slots__ = ("breakers", "served")

    def __init__(self, breakers: Breakers, served: Deployment) -> None:
        self.breakers = breakers
        self.served = served

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception):
            self.breakers.failed(self.served, error, had_begun=True)
