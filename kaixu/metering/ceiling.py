"""The most that a call can cost, and the least it can be lowered to, to fit into the cap."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from kaixu.catalog.catalog import Deployment
from kaixu.config.price import Price
from kaixu.plugin.errors import UnpricedModel, Unsupported
from kaixu.plugin.types import ChatRequest, EmbedRequest

from .counting import most_embed_tokens, most_input_tokens
from .pricing import most_nusd, output_tokens_for


class Ceiling(msgspec.Struct, frozen=True):
    """What to reserve: `most_nusd`, or at least `least_nusd` with fewer output tokens; the same in tokens."""

    price: Price
    most_nusd: int
    least_nusd: int
    input_tokens: int
    most_tokens: int
    least_tokens: int


def ceiling_of(request: ChatRequest, deployment: Deployment) -> Ceiling:
    """The ceiling of a chat call. The least pays for one output token of each answer.

    Raises `UnpricedModel`.
    """
    price = require_price(deployment)
    tokens = most_input_tokens(request, deployment)
    output = request.max_tokens * request.n
    most, least = most_nusd(tokens, output, price), most_nusd(tokens, request.n, price)
    return Ceiling(price, most, least, tokens, tokens + output, tokens + request.n)


def embed_ceiling(request: EmbedRequest, deployment: Deployment) -> Ceiling:
    """The ceiling of an embedding call, which cannot be lowered. Raises `UnpricedModel`, `Unsupported`."""
    price = require_price(deployment)
    lane = deployment.lane
    assert lane is not None
    if request.dimensions is not None and request.dimensions != deployment.dimensions:
        if not lane.shortens or deployment.fixed_dimensions:
            raise Unsupported("dimensions")
        if deployment.dimensions is not None and request.dimensions > deployment.dimensions:
            raise Unsupported("dimensions", f"this model makes vectors of at most {deployment.dimensions}")
    if not lane.embeds_tokens and any(not isinstance(one, str) for one in request.inputs):
        raise Unsupported("input", "this model takes texts, not tokens")
    tokens = most_embed_tokens(request, deployment)
    most = most_nusd(tokens, 0, price)
    return Ceiling(price, most, most, tokens, tokens, tokens)


def highest_ceiling(ceilings: Iterable[Ceiling]) -> Ceiling:
    """The dearest of the ceilings of a call that several deployments may serve, with the tokens of the largest."""
    every = list(ceilings)
    if len(every) == 1:
        return every[0]
    dearest = max(every, key=lambda one: one.most_nusd)
    most, least = max(one.most_tokens for one in every), max(one.least_tokens for one in every)
    return msgspec.structs.replace(dearest, most_tokens=most, least_tokens=least)


def require_price(deployment: Deployment) -> Price:
    """The deployment's price. Without one the call is refused: raises `UnpricedModel`."""
    if deployment.price is None:
        raise UnpricedModel(
            f"model `{deployment.model}` of provider `{deployment.provider}` has no price",
            hint="Ask the operator to set a price for it in kaixu.yaml.",
        )
    return deployment.price


def lowered_to_grant(
    request: ChatRequest, ceiling: Ceiling, granted_nusd: int, granted_tokens: int | None = None
) -> ChatRequest:
    """The request with `max_tokens` lowered to what the granted money buys, and to the granted tokens."""
    output = request.max_tokens * request.n
    granted = output
    if granted_nusd < ceiling.most_nusd:
        bought = output_tokens_for(granted_nusd, ceiling.input_tokens, ceiling.price)
        granted = output if bought is None else min(output, bought)
    if granted_tokens is not None:
        granted = min(granted, output - (ceiling.most_tokens - granted_tokens))
    if granted >= output:
        return request
    return msgspec.structs.replace(request, max_tokens=max(1, granted // request.n))
