"""Chat calls: their admission, and the events that a lane or the cache answers with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

from kaixu.catalog.catalog import Catalog, Deployment
from kaixu.plugin.errors import UpstreamError
from kaixu.plugin.types import ChatEvent, ChatRequest, Usage
from kaixu.store.admission import Verdict

from .admission import Admission
from .breakers import Breakers
from .ceiling import ceiling_of, lowered_to_grant
from .chat_ticket import ChatTicket
from .counting import counted_input_tokens
from .gate import Caller, Gate
from .lanes import supporting_deployments, translate_errors
from .native_fields import with_known_fields
from .opening import NO_ANSWER, Opened, wait_for_output, with_vendor_model
from .preamble import with_preamble
from .price_keys import model_key
from .routing import try_deployments, widest_limits
from .wire import MeteredWire


def admit_chat(
    gate: Gate,
    caller: Caller,
    deployment: Deployment,
    asked_provider: str,
    request: ChatRequest,
    *,
    operation: str = "chat",
    price: str = "",
) -> Admission[ChatTicket]:
    """Admission of one chat call, as a context that settles when it is left.

    `asked_provider` is the name by which the deployment was found (see `Catalog.resolve`), `price` says which of
    the model's prices it is billed by (see `Deployment.prices`).

    Raises, before the database is asked: `LaneOff`, `PluginFailed`, `Unsupported`, `UnpricedModel`, `Unprocessable`,
    `Overloaded`, `Stopping`.
    """
    Catalog.ready(deployment)
    deployment = deployment.priced(price)
    request = with_preamble(with_known_fields(request, deployment), deployment.preamble)
    choices = supporting_deployments(deployment, request)
    ceiling = max((ceiling_of(request, one) for one in choices), key=lambda one: one.most_nusd)
    ask = gate.model_ask(
        caller,
        operation,
        deployment,
        asked_provider,
        most_nusd=ceiling.most_nusd,
        least_nusd=ceiling.least_nusd,
    )

    def make_ticket(verdict: Verdict) -> ChatTicket:
        granted = lowered_to_grant(request, ceiling, verdict.granted_nusd or 0)
        return ChatTicket(
            ask,
            verdict,
            gate.wire(ask, widest_limits(choices)),
            ceiling.price,
            deployment=deployment,
            choices=choices,
            most_input_tokens=ceiling.input_tokens,
            request=granted,
            lowered=granted is not request,
            cache_control=caller.cache_control,
        )

    return gate.admission(ask, make_ticket, deployment)


async def chat_events(gate: Gate, ticket: ChatTicket) -> AsyncGenerator[ChatEvent, None]:
    """The answer of one of the model's deployments, within their time limits, ended when the budget is spent.

    Yields nothing before a deployment has begun to answer: until then another may take its place. Whatever a plugin
    raises comes out as a `KaixuError`. Sets `ticket.end_reason` to "budget_cut" where the stream was ended for its
    cost.
    """
    question = gate.cache.question(ticket)
    if question is not None and ticket.cache_control == "":
        cached = await gate.cache.find(ticket, question)
        if cached is not None:
            ticket.answer_from_cache(
                gate.price_ids.get(model_key(ticket.deployment, ticket.deployment.cached_price), 0)
            )
            for event in cached:  # all of it is known, and billed, whenever the client leaves
                ticket.saw(event)
            for event in cached:
                yield event
            return
    answer: list[ChatEvent] = []
    async with aclosing(vendor_events(gate, ticket)) as events:
        async for event in events:
            if question is not None:
                answer.append(event)
            yield event
    if question is not None and ticket.cache_control != "no-store":
        gate.cache.keep(ticket, question, answer)


async def vendor_events(gate: Gate, ticket: ChatTicket) -> AsyncGenerator[ChatEvent, None]:
    """See `chat_events`; never from the cache."""
    request = ticket.request
    deadline = asyncio.get_running_loop().time() + ticket.wire.limits.total_s

    async def opening(one: Deployment, wire: MeteredWire) -> Opened:
        def estimate() -> Usage:
            return Usage(counted_input_tokens(request, one), estimated=True)

        with ticket.wasted.watching(one, lambda: wire.used, estimate) as attempt:
            async with translate_errors(ticket, one):
                assert one.lane is not None
                return await wait_for_output(one.lane.chat(with_vendor_model(request, one), wire), attempt)

    async with translate_errors(ticket, ticket.deployment), asyncio.timeout_at(deadline):
        ticket.served, begun = await try_deployments(gate.breakers, ticket.wire, ticket.choices, opening, ticket.tried)
    served = ticket.served
    async with (
        count_break_off(gate.breakers, served),
        translate_errors(ticket, served),
        aclosing(begun.events) as events,
    ):
        for event in begun.held:
            ticket.saw(event)
            yield event
        while not ticket.over_budget:
            try:
                # Around the lane's own work only: how long the reader takes with an event is the reader's.
                async with asyncio.timeout_at(deadline):
                    event_or_end = await anext(events, None)
            except Exception as error:
                if ticket.finish_reason is None:
                    raise
                # Its end was seen, so it is complete, whatever comes after.
                ticket.wire.note(f"{type(error).__name__} after the end of an answer")
                return
            if event_or_end is None:
                if ticket.finish_reason is None and ticket.first_event_s is None:
                    raise UpstreamError(NO_ANSWER)
                return
            ticket.saw(event_or_end)
            yield event_or_end
        ticket.end_reason = "budget_cut"


@asynccontextmanager
async def count_break_off(breakers: Breakers, served: Deployment) -> AsyncIterator[None]:
    """A deployment that breaks off in the middle of its answer counts as failed."""
    try:
        yield
    except Exception as error:
        breakers.failed(served, error)
        raise
