"""The most that a call can cost, and how far it may be lowered to fit what the cap leaves."""

from __future__ import annotations

import msgspec

from kaixu.catalog.catalog import Deployment
from kaixu.config.price import Price
from kaixu.plugin.errors import UnpricedModel, Unsupported
from kaixu.plugin.types import ChatRequest, EmbedRequest

from .counting import most_embed_tokens, most_input_tokens
from .pricing import most_nusd, output_tokens_for


class Ceiling(msgspec.Struct, frozen=True):
    """What to reserve: `most_nusd`, or at least `least_nusd` with fewer output tokens."""

    price: Price
    most_nusd: int
    least_nusd: int
    input_tokens: int


def ceiling_of(request: ChatRequest, deployment: Deployment) -> Ceiling:
    """The ceiling of a chat call. The least pays for one output token of each answer.

    Raises `UnpricedModel`.
    """
    price = require_price(deployment)
    tokens = most_input_tokens(request, deployment)
    most = most_nusd(tokens, request.max_tokens * request.n, price)
    return Ceiling(price, most, most_nusd(tokens, request.n, price), tokens)


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
    return Ceiling(price, most, most, tokens)


def require_price(deployment: Deployment) -> Price:
    """The deployment's price. Without one the call is refused: raises `UnpricedModel`."""
    if deployment.price is None:
        raise UnpricedModel(
            f"model `{deployment.model}` of provider `{deployment.provider}` has no price",
            hint="Ask the operator to set a price for it in kaixu.yaml.",
        )
    return deployment.price


def lowered_to_grant(request: ChatRequest, ceiling: Ceiling, granted_nusd: int) -> ChatRequest:
    """The request with as many output tokens as the granted money buys."""
    if granted_nusd >= ceiling.most_nusd:
        return request
    bought = output_tokens_for(granted_nusd, ceiling.input_tokens, ceiling.price)
    if bought is None or bought >= request.max_tokens * request.n:
        return request
    return msgspec.structs.replace(request, max_tokens=max(1, bought // request.n))
