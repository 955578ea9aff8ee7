"""Routes for operators: with an admin token, or with the password if the settings allow it."""

from __future__ import annotations

from kaixu.accounts.login import log_in
from kaixu.ops.events import MonitorEvent
from kaixu.plugin.errors import Unauthenticated

from .paths import LOGIN, function_paths
from .request import Headers, IncomingRequest
from .response import Reply
from .routes import Handler, Route
from .services import Services
from .tokens import is_admin_token

#: The actor in the audit log for changes by operators over HTTP.
ACTOR = "admin"

HOW_TO_LOG_IN = f"Log in with POST {LOGIN} and send the token as Bearer."


def operator_route(services: Services, method: str, name: str, handler: Handler) -> Route:
    """A route of the function `name` for operators only.

    The check wraps the handler, so that no route can be registered without it. Replies are not cached, and changes
    are recorded in the monitor.
    """

    async def handle(request: IncomingRequest) -> Reply:
        await require_operator(services, request)
        reply = await handler(request)
        reply.headers["cache-control"] = "no-store"
        if request.method != "GET":
            services.monitor.record(change_event(request))
        return reply

    return Route(method, function_paths(name), handle, auth="operator", rate="operator")


def require_operator_credential(services: Services, headers: Headers) -> None:
    """Raises `Unauthenticated` without an admin token or a password; `require_operator` checks the password."""
    if not is_operator(services, headers) and not (
        services.settings.admin_password_header and headers.get("x-admin-password")
    ):
        raise not_an_operator()


def is_operator(services: Services, headers: Headers) -> bool:
    """Whether the headers hold a valid admin token."""
    scheme, _, token = (headers.get("authorization") or "").partition(" ")
    return scheme.lower() == "bearer" and is_admin_token(services.secrets.jwt_secret, token.strip())


def not_an_operator() -> Unauthenticated:
    """The error for a request without an operator's credential."""
    return Unauthenticated("Unauthorized", hint=HOW_TO_LOG_IN)


async def require_operator(services: Services, request: IncomingRequest) -> None:
    """Raises `Unauthenticated` if the caller is not an operator, and `RateLimited` after too many wrong passwords."""
    if is_operator(services, request.headers):
        return
    password = request.headers.get("x-admin-password")
    if not password or not services.settings.admin_password_header:
        raise not_an_operator()
    try:
        await log_in(
            services.pool,
            password,
            address=request.address,
            secrets=services.secrets,
            request_id=request.request_id,
            logged=False,
        )
    except Unauthenticated:
        raise Unauthenticated("Unauthorized") from None


def change_event(request: IncomingRequest) -> MonitorEvent:
    """The monitor event for an operator's change."""
    return MonitorEvent(
        kind="audit",
        request_id=request.request_id,
        function_name=request.path.rsplit("/", 1)[-1][:200],
        method=request.method,
        path=request.path[:500],
        http_status=200,
    )
