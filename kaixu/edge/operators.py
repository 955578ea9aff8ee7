"""Operators only: an admin token, or the password itself where the settings allow it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from quart import Blueprint, Response, g, request

from kaixu.accounts.login import log_in
from kaixu.ops.events import MonitorEvent
from kaixu.plugin.errors import Unauthenticated

from .function_paths import at
from .request import Headers
from .services import Services
from .tokens import is_admin_token

View = TypeVar("View", bound=Callable[[], Awaitable[Response]])

#: The actor of the audit log for everything that comes through these doors.
ACTOR = "admin"


def insist_on_operator(services: Services, headers: Headers) -> None:
    """Raises `Unauthenticated` without an admin token; a password is left to `require_admin`, which counts tries."""
    if not is_operator(services, headers) and not (
        services.settings.admin_password_header and headers.get("x-admin-password")
    ):
        raise stranger()


def is_operator(services: Services, headers: Headers) -> bool:
    """Whether an admin token is sent along."""
    scheme, _, token = (headers.get("authorization") or "").partition(" ")
    return scheme.lower() == "bearer" and is_admin_token(services.secrets.jwt_secret, token.strip())


def stranger() -> Unauthenticated:
    """The error for who is no operator."""
    return Unauthenticated("Unauthorized", hint="Log in with POST admin-login and send the token as Bearer.")


async def require_admin(services: Services) -> None:
    """Return for an operator. Raises `Unauthenticated`, and `RateLimited` for a password tried too often."""
    if is_operator(services, request.headers):
        return
    password = request.headers.get("x-admin-password")
    if password and services.settings.admin_password_header:
        try:
            await log_in(
                services.pool,
                password,
                address=address_of(),
                secrets=services.secrets,
                request_id=g.request_id,
                logged=False,
            )
        except Unauthenticated:
            raise Unauthenticated("Unauthorized") from None
        return
    raise stranger()


def address_of() -> str:
    """Where the request comes from: the socket, or what a proxy says that the operator trusts (`address.py`)."""
    return request.remote_addr or "unknown"


class OperatorBlueprint(Blueprint):
    """A blueprint whose every route is for operators: a stranger's body is not even read."""


class OperatorRoutes:
    """Routes that only operators reach: there is no way to add one to it that anybody reaches.

    Around each view, and not in a hook of the application that somebody may switch
    off. Nobody keeps the replies, and the monitor sees the changes.
    """

    def __init__(self, name: str, services: Services) -> None:
        self.blueprint = OperatorBlueprint(name, __name__)
        self.services = services

    def at(self, name: str, *, methods: Sequence[str]) -> Callable[[View], View]:
        """Mount a view as function `name`, under both prefixes, for operators."""

        def mount(view: View) -> View:
            async def for_operators() -> Response:
                await require_admin(self.services)
                response = await view()
                response.headers["cache-control"] = "no-store"
                if request.method != "GET":
                    self.services.monitor.record(change_seen())
                return response

            at(self.blueprint, name, methods=methods)(for_operators)
            return view

        return mount


def change_seen() -> MonitorEvent:
    """What the monitor is told of a change."""
    return MonitorEvent(
        kind="audit",
        request_id=g.request_id,
        function_name=request.path.rsplit("/", 1)[-1][:200],
        method=request.method,
        path=request.path[:500],
        http_status=200,
    )
