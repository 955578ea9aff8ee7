"""The key of a request to the endpoints of customers, and their routes."""

from __future__ import annotations

from kaixu.edge.authenticate import read_caller
from kaixu.edge.paths import function_paths
from kaixu.edge.request import IncomingRequest
from kaixu.edge.request_body import SMALL_BODY_BYTES
from kaixu.edge.response import Reply
from kaixu.edge.routes import Handler, Route
from kaixu.edge.services import Services
from kaixu.reports.own_key import Credential


def credential_of(services: Services, request: IncomingRequest) -> Credential:
    """What names the request's key. Raises `Unauthenticated`."""
    caller = read_caller(request, services.secrets)
    return Credential(caller.key_hash, caller.legacy_hash, caller.key_id)


def own_route(method: str, name: str, handler: Handler, *, is_placeholder: bool = False) -> Route:
    """A route of the function `name` for a key's own data: it counts as one reading, and nobody caches its reply.

    `is_placeholder`: see `Route`.
    """

    async def handle(request: IncomingRequest) -> Reply:
        reply = await handler(request)
        reply.headers["cache-control"] = "no-store"
        return reply

    return Route(
        method,
        function_paths(name),
        handle,
        auth="key",
        rate="reading",
        max_body_bytes=SMALL_BODY_BYTES,
        is_placeholder=is_placeholder,
    )
