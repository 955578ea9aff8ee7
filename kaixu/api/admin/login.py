"""`admin-login` and `admin-session-check`."""

from __future__ import annotations

from quart import Blueprint, Response, g, request

from kaixu.accounts.fields import require_known
from kaixu.accounts.login import log_in
from kaixu.edge.function_paths import at
from kaixu.edge.json_body import object_of
from kaixu.edge.operators import OperatorRoutes, address_of
from kaixu.edge.response import reply
from kaixu.edge.services import Services
from kaixu.edge.tokens import ADMIN_TTL_S, make_admin_token
from kaixu.plugin.errors import Invalid, Unprocessable

#: Longer than any password; hashing a megabyte for a stranger is work for nothing.
MOST_PASSWORD = 1000


def login_routes(services: Services) -> Blueprint:
    """The door, bound to one gateway."""
    routes = Blueprint("admin_login", __name__)

    @at(routes, "admin-login", methods=["POST"])
    async def login() -> Response:
        given = await object_of(request)
        require_known(given, ("password",))
        password = given.get("password")
        if password is None or password == "":
            raise Invalid("`password` is missing", field="password")
        if not isinstance(password, str) or len(password) > MOST_PASSWORD:
            raise Unprocessable(f"`password` must be text of at most {MOST_PASSWORD} characters", field="password")
        await log_in(services.pool, password, address=address_of(), secrets=services.secrets, request_id=g.request_id)
        body = {"token": make_admin_token(services.secrets.jwt_secret), "expires_in": ADMIN_TTL_S}
        return reply(body, headers={"cache-control": "no-store"})

    return routes


def session_check_routes(services: Services) -> Blueprint:
    """Whether one is still inside."""
    routes = OperatorRoutes("admin_session_check", services)

    @routes.at("admin-session-check", methods=["GET"])
    async def session_check() -> Response:
        return reply({"ok": True, "role": "admin"})

    return routes.blueprint
