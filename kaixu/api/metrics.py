"""`/metrics`, for Prometheus. With the metrics token, or as an operator."""

from __future__ import annotations

import hmac

from prometheus_client.exposition import choose_encoder

from kaixu.accounts.operator_identity import READ
from kaixu.edge.operators import require_operator
from kaixu.edge.request import IncomingRequest
from kaixu.edge.request_body import SMALL_BODY_BYTES
from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services


def metrics_routes(services: Services) -> list[Route]:
    """The route of the metrics."""

    async def metrics(request: IncomingRequest) -> Reply:
        if not has_token(services, request):
            await require_operator(services, request, READ)
        await services.metrics.refresh()
        encode, content_type = choose_encoder(request.headers.get("accept") or "")
        headers = {"content-type": content_type, "cache-control": "no-store"}
        return Reply(200, headers, encode(await services.metrics.of_all(services.metrics.registry)))

    return [Route("GET", ("/metrics",), metrics, auth="public", rate="open", max_body_bytes=SMALL_BODY_BYTES)]


def has_token(services: Services, request: IncomingRequest) -> bool:
    """Whether the request has the metrics token, which gives access to nothing else."""
    expected = services.settings.metrics_token
    if expected is None:
        return False
    scheme, _, token = (request.headers.get("authorization") or "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(
        token.strip().encode("utf-8", "replace"), expected.get_secret_value().encode()
    )
