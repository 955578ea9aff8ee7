"""`public-models`: models and prices for everybody, where the operator has published them (`gateway.public_prices`)."""

from __future__ import annotations

from kaixu.edge.paths import function_paths
from kaixu.edge.request import IncomingRequest
from kaixu.edge.request_body import SMALL_BODY_BYTES
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.edge.throttle import Throttle
from kaixu.plugin.errors import NotFound

from .openai.models import list_callable, model_replies


def public_model_routes(services: Services) -> list[Route]:
    """The route of the list."""
    throttle = Throttle(per_address=120, in_all=12_000, window_s=60)

    async def models(request: IncomingRequest) -> Reply:
        throttle.require(request.address)
        if not services.gateway.public_prices:
            raise NotFound(
                "this gateway shows its models and prices only to its customers",
                hint="GET /v1/models with a key lists those of the key.",
                code="NOT_PUBLIC",
            )
        replies = model_replies(list_callable(services.catalog))
        return json_reply({"models": replies}, headers={"cache-control": "no-store"})

    return [
        Route("GET", function_paths("public-models"), models, auth="public", rate="address",
              max_body_bytes=SMALL_BODY_BYTES)
    ]  # fmt: skip
