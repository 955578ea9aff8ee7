"""`admin-login` and `admin-session-check`."""

from __future__ import annotations

from kaixu.accounts.fields import require_known
from kaixu.accounts.login import log_in
from kaixu.edge.fields import read_stored_fields
from kaixu.edge.operators import operator_route
from kaixu.edge.paths import LOGIN, function_paths
from kaixu.edge.request import IncomingRequest
from kaixu.edge.request_body import SMALL_BODY_BYTES
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.edge.tokens import ADMIN_TTL_S, make_admin_token
from kaixu.plugin.errors import Invalid, Unprocessable

#: Longer than any password, so that clients cannot make the gateway hash a megabyte.
MAX_PASSWORD = 1000


def login_routes(services: Services) -> list[Route]:
    """The routes of an operator's login."""

    async def login(request: IncomingRequest) -> Reply:
        body = read_stored_fields(request)
        require_known(body.value, ("password",))
        password = body.get("password")
        if password is None or password == "":
            raise Invalid("`password` is missing", field="password")
        if not isinstance(password, str) or len(password) > MAX_PASSWORD:
            raise Unprocessable(f"`password` must be text of at most {MAX_PASSWORD} characters", field="password")
        await log_in(
            services.pool,
            password,
            address=request.address,
            secrets=services.secrets,
            request_id=request.request_id,
        )
        token = make_admin_token(services.secrets.jwt_secret)
        return json_reply({"token": token, "expires_in": ADMIN_TTL_S}, headers={"cache-control": "no-store"})

    async def check_session(request: IncomingRequest) -> Reply:
        return json_reply({"ok": True, "role": "admin"})

    return [
        Route(
            "POST",
            function_paths(LOGIN),
            login,
            auth="public",
            rate="address",
            max_body_bytes=SMALL_BODY_BYTES,
        ),
        operator_route(services, "GET", "admin-session-check", check_session),
    ]
