"""`session-token`: a short-lived token that stands for a key."""

from __future__ import annotations

import math

from quart import Blueprint, Response, request

from kaixu.accounts.sessions import session_owner
from kaixu.edge.authenticate import bearer
from kaixu.edge.function_paths import at
from kaixu.edge.json_body import object_of
from kaixu.edge.response import reply
from kaixu.edge.services import Services
from kaixu.edge.tokens import make_session_token

LEAST_TTL_S, MOST_TTL_S = 60, 86400


def session_routes(services: Services) -> Blueprint:
    """The route, bound to one gateway."""
    routes = Blueprint("session", __name__)

    @at(routes, "session-token", methods=["POST"])
    async def session_token() -> Response:
        key = bearer(request.headers)  # its form was looked at before the body was read
        ttl_s = ttl_of((await object_of(request, optional=True)).get("ttl_seconds"))
        if ttl_s is None:
            ttl_s = services.settings.user_session_ttl_seconds
        owner = await session_owner(services.pool, key, pepper=services.secrets.key_pepper)
        token = make_session_token(
            services.secrets.jwt_secret,
            key_id=owner.key_id,
            customer_id=owner.customer_id,
            key_last4=owner.key_last4,
            ttl_s=ttl_s,
        )
        body = {"token": token, "expires_in": ttl_s, "key_last4": owner.key_last4}
        return reply(body, headers={"cache-control": "no-store"})

    return routes


def ttl_of(value: object) -> int | None:
    """How long it shall live, within bounds; None for what is not a number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and not math.isfinite(value):  # an int may be too large to be asked
        return None
    return int(min(max(value, LEAST_TTL_S), MOST_TTL_S))
