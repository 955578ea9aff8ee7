"""Embedding calls: their admission, and the vectors that lanes answer with."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from kaixu.catalog.catalog import Catalog, Deployment
from kaixu.plugin.access import Rank
from kaixu.plugin.errors import UpstreamError
from kaixu.plugin.types import Embeddings, EmbedRequest, Usage
from kaixu.store.admission import Ask, Verdict

from .admission import Admission, Offer
from .ceiling import embed_ceiling, highest_ceiling
from .counting import estimated_embed_tokens
from .embed_ticket import EmbedTicket
from .gate import Caller, Gate
from .lanes import lanes_of, limit_total_time, translate_errors
from .reported_usage import clamped_usage
from .routing import try_deployments, widest_limits
from .vectors import Input, check_vectors, normalized, smallest_batches
from .wire import MeteredWire

#: How many batches of one embedding call are sent at the same time.
BATCHES_AT_ONCE = 8


def admit_embed(
    gate: Gate,
    caller: Caller,
    deployment: Deployment,
    requested_provider: str,
    request: EmbedRequest,
    *,
    operation: str = "embed",
    role: Rank = "viewer",
    price: str = "",
    user: str | None = None,
) -> Admission[EmbedTicket]:
    """Admission of one embedding call, of any number of inputs. Raises as `admit_chat`.

    `user`: the end user, where it is not to be sent to the vendor in the request itself.
    """
    Catalog.ready(deployment)
    deployment = deployment.priced(price)

    def offer_of(priced: Deployment, ask: Ask | None) -> Offer[EmbedTicket]:
        choices = priced.ready
        ceiling = highest_ceiling(embed_ceiling(request, one) for one in choices)
        if ask is None:
            ask = gate.model_ask(
                caller, operation, priced, requested_provider, ceiling, role=role, user=user or request.user
            )
        else:
            ask = gate.repriced(ask, priced, ceiling)

        def make_ticket(verdict: Verdict) -> EmbedTicket:
            return EmbedTicket(
                ask, verdict, gate.wire(ask, widest_limits(choices)), ceiling, deployment=priced, choices=choices
            )

        return Offer(ask, make_ticket)

    return gate.priced_admission(deployment, offer_of)


async def embed_vectors(
    gate: Gate, ticket: EmbedTicket, request: EmbedRequest, *, length: int | None = None
) -> list[Sequence[float]]:
    """One vector for each input, in order. Sends batches of the vendor's size, several at the same time.

    All or nothing: if one batch fails the others are cancelled, and the call costs what the vendor has done by then.
    With `length`, vectors of another length are an error. Raises `KaixuError`.
    """
    at_once = asyncio.Semaphore(BATCHES_AT_ONCE)
    ticket.wire.private_texts = lambda: (one for one in request.inputs if isinstance(one, str))

    async def batch_vectors(inputs: tuple[Input, ...]) -> Sequence[Sequence[float]]:
        def estimate() -> Usage:
            return Usage(estimated_embed_tokens(inputs), estimated=True)

        async def embed_at(one: Deployment, wire: MeteredWire) -> Embeddings:
            with (
                ticket.wasted.watch_try(one, lambda: wire.used, estimate) as attempt,
                translate_errors(ticket, one),
            ):
                assert one.lane is not None
                batch = msgspec.structs.replace(request, inputs=inputs, model=one.upstream)
                answer = await one.lane.embed(batch, wire)
                attempt.usage = clamped_usage(answer.usage)
                check_vectors(answer.vectors, len(inputs), length)
                return answer

        async with at_once:
            record_usage = ticket.send_batch(inputs)
            ticket.served, answer = await try_deployments(
                gate.breakers, ticket.wire, ticket.choices, embed_at, ticket.tried
            )
            record_usage(answer.usage)
            return normalized(answer.vectors) if shortened else answer.vectors

    shortened = request.dimensions not in (None, ticket.deployment.dimensions)
    batches = smallest_batches(lanes_of(ticket), request)
    async with limit_total_time(ticket):
        if len(batches) == 1:
            return list(await batch_vectors(batches[0]))
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(batch_vectors(inputs)) for inputs in batches]
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from errors
        vectors = [vector for task in tasks for vector in task.result()]
        if len({len(vector) for vector in vectors}) > 1:
            raise UpstreamError("the vendor returned vectors of different lengths")
        return vectors
