"""`session-token`: a short-lived token that stands for a key."""

from __future__ import annotations

import math

from kaixu.accounts.sessions import session_owner
from kaixu.edge.authenticate import bearer
from kaixu.edge.fields import read_stored_fields
from kaixu.edge.paths import SESSION_TOKEN, function_paths
from kaixu.edge.request import IncomingRequest
from kaixu.edge.request_body import SMALL_BODY_BYTES
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.edge.tokens import make_session_token

MIN_TTL_S, MAX_TTL_S = 60, 86400


def session_routes(services: Services) -> list[Route]:
    """The route of session tokens."""

    async def create(request: IncomingRequest) -> Reply:
        key = bearer(request.headers)  # the route's `auth` has checked its format
        ttl_s = read_stored_fields(request, may_be_empty=True).read("ttl_seconds", read_ttl)
        if ttl_s is None:
            ttl_s = services.settings.user_session_ttl_seconds
        owner = await session_owner(services.pool, key, peppers=services.secrets.key_peppers)
        token = make_session_token(
            services.secrets.jwt_secret,
            key_id=owner.key_id,
            customer_id=owner.customer_id,
            key_last4=owner.key_last4,
            ttl_s=ttl_s,
        )
        body = {"token": token, "expires_in": ttl_s, "key_last4": owner.key_last4}
        return json_reply(body, headers={"cache-control": "no-store"})

    return [
        Route(
            "POST",
            function_paths(SESSION_TOKEN),
            create,
            auth="key_only",
            rate="reading",
            max_body_bytes=SMALL_BODY_BYTES,
        )
    ]


def read_ttl(value: object, field: str) -> int | None:
    """A lifetime in seconds, limited to the allowed range; None for a value that is not a number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and not math.isfinite(value):  # only for floats: an int may be too large for isfinite
        return None
    return int(min(max(value, MIN_TTL_S), MAX_TTL_S))
