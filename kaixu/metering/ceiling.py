"""The most that a chat call can cost, and how far it may be lowered to fit what is left."""

from __future__ import annotations

import msgspec

from kaixu.catalog.catalog import Deployment
from kaixu.config.price import Price
from kaixu.plugin.errors import UnpricedModel
from kaixu.plugin.types import ChatRequest

from .counting import most_input_tokens
from .pricing import most_nusd, output_tokens_for


class Ceiling(msgspec.Struct, frozen=True):
    """What is asked of admission: reserve `most_nusd`, or at least `least_nusd` and fewer output tokens."""

    price: Price
    most_nusd: int
    least_nusd: int
    input_tokens: int


def ceiling_of(request: ChatRequest, deployment: Deployment) -> Ceiling:
    """Bound the call from above. At the least, one token of each answer must be worth granting.

    Raises `UnpricedModel`: a price that is not known is a refusal, never a missing hold.
    """
    price = deployment.price
    if price is None:
        raise UnpricedModel(
            f"model `{deployment.model}` of provider `{deployment.provider}` has no price",
            hint="Ask the operator to set a price for it in kaixu.yaml.",
        )
    tokens = most_input_tokens(request, deployment)
    most = most_nusd(tokens, request.max_tokens * request.n, price)
    return Ceiling(price, most, most_nusd(tokens, request.n, price), tokens)


def lowered(request: ChatRequest, ceiling: Ceiling, granted_nusd: int) -> ChatRequest:
    """The request with as many output tokens as the grant buys."""
    if granted_nusd >= ceiling.most_nusd:
        return request
    bought = output_tokens_for(granted_nusd, ceiling.input_tokens, ceiling.price)
    if bought is None or bought >= request.max_tokens * request.n:
        return request
    return msgspec.structs.replace(request, max_tokens=max(1, bought // request.n))
