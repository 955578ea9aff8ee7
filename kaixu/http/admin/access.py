"""Operators only: an admin token, or the password itself where the settings allow it."""

from __future__ import annotations

from quart import Blueprint, Response, g, request

from kaixu.accounts.login import log_in
from kaixu.http.core import Core
from kaixu.http.tokens import is_admin_token
from kaixu.ops.events import MonitorEvent
from kaixu.plugin.errors import Unauthenticated

#: The actor of the audit log for everything that comes through these doors.
ACTOR = "admin"


async def require_admin(core: Core) -> None:
    """Return for an operator. Raises `Unauthenticated`, and `RateLimited` for a password tried too often."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and is_admin_token(core.secrets.jwt_secret, token.strip()):
        return
    password = request.headers.get("x-admin-password")
    if password and core.settings.admin_password_header:
        try:
            await log_in(
                core.pool,
                password,
                address=address_of(),
                secrets=core.secrets,
                request_id=g.request_id,
                logged=False,
            )
        except Unauthenticated:
            raise Unauthenticated("Unauthorized") from None
        return
    raise Unauthenticated("Unauthorized", hint="Log in with POST admin-login and send the token as Bearer.")


def address_of() -> str:
    """Where the request comes from. Headers of proxies are not believed: anybody can write them."""
    return request.remote_addr or "unknown"


def admin_blueprint(name: str, core: Core) -> Blueprint:
    """A blueprint for operators only; nobody keeps its replies, and the monitor sees its changes."""
    routes = Blueprint(name, __name__)

    @routes.before_request
    async def operators_only() -> None:
        await require_admin(core)

    @routes.after_request
    async def note(response: Response) -> Response:
        response.headers["cache-control"] = "no-store"
        if request.method != "GET" and response.status_code < 400:
            core.monitor.record(
                MonitorEvent(
                    kind="audit",
                    request_id=g.request_id,
                    function_name=request.path.rsplit("/", 1)[-1][:200],
                    method=request.method,
                    path=request.path[:500],
                    http_status=response.status_code,
                )
            )
        return response

    return routes
