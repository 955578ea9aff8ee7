"""`admin-key-session`: a short session token for a key, with which an operator tries calls as that key."""

from __future__ import annotations

from kaixu.accounts.fields import identifier
from kaixu.accounts.operator_identity import KEYS
from kaixu.accounts.sessions import session_for_operator
from kaixu.edge.fields import read_stored_fields
from kaixu.edge.operators import ACTOR, operator_route
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.edge.tokens import make_session_token

#: How long the token is valid: enough for a try, too short to be kept.
TTL_S = 900


def key_session_routes(services: Services) -> list[Route]:
    """The route of operators' sessions for keys."""

    async def create(request: IncomingRequest) -> Reply:
        key_id = read_stored_fields(request).read("key_id", identifier)
        key = await session_for_operator(services.pool, key_id, ttl_s=TTL_S, actor=ACTOR, request_id=request.request_id)
        token = make_session_token(
            services.secrets.jwt_secret,
            key_id=key.id,
            customer_id=key.customer_id,
            key_last4=key.key_last4,
            ttl_s=TTL_S,
        )
        body = {"token": token, "expires_in": TTL_S, "key_id": key.id, "customer_id": key.customer_id}
        return json_reply(body | {"key_last4": key.key_last4})

    return [operator_route(services, "POST", "admin-key-session", create, access=KEYS)]
