"""Routes for operators: who the caller is, and whether that is enough for the route."""

from __future__ import annotations

import msgspec

from kaixu.accounts.login import log_in
from kaixu.accounts.operator_identity import CHANGE, READ, Access, Identity
from kaixu.accounts.operator_login import require_admin_password
from kaixu.accounts.operator_sessions import identify_session
from kaixu.accounts.operator_tokens import identify_token, is_token_shaped
from kaixu.ops.change_origin import CHANGE_ORIGIN
from kaixu.ops.events import MonitorEvent
from kaixu.plugin.errors import Forbidden, Unauthenticated

from .operator_cookies import SESSION_COOKIE, read_cookie, require_same_origin
from .paths import LOGIN, function_paths
from .request import Headers, IncomingRequest
from .response import Reply
from .routes import Handler, Route
from .services import Services
from .tokens import read_admin_token

#: The actor that handlers name; the audit log writes whom the request's credential stands for instead.
ACTOR = "admin"

HOW_TO_LOG_IN = f"Log in with POST {LOGIN} and send the token as Bearer."


def operator_route(
    services: Services,
    method: str,
    name: str,
    handler: Handler,
    *,
    access: Access | None = None,
    paths: tuple[str, ...] | None = None,
    is_placeholder: bool = False,
) -> Route:
    """A route of the function `name` for operators only.

    `access`: what it needs of them; by default a viewer may read, and a change needs an operator, or a token for
    everything. The check wraps the handler, so that no route can be registered without it; the handler gets the
    request with the operator's identity. Replies are not cached, and changes are recorded in the monitor. `paths`: if
    they are not those of a function. `is_placeholder`: see `Route`.
    """
    needed = access or (READ if method == "GET" else CHANGE)

    async def handle(request: IncomingRequest) -> Reply:
        identity = await require_operator(services, request, needed)
        reply = await handler(msgspec.structs.replace(request, operator=identity))
        reply.headers["cache-control"] = "no-store"
        if request.method != "GET":
            services.monitor.record(change_event(request))
        return reply

    return Route(
        method,
        paths or function_paths(name),
        handle,
        auth="operator",
        rate="operator",
        access=needed,
        is_placeholder=is_placeholder,
    )


def bearer_of(headers: Headers) -> str:
    """The bearer token, or empty."""
    scheme, _, token = (headers.get("authorization") or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def session_of(services: Services, headers: Headers) -> str | None:
    """The random id of the session in an admin token: the bearer token, or the cookie. None: there is none."""
    token = bearer_of(headers)
    if token:
        return read_admin_token(services.secrets.jwt_secrets, token)
    return None if headers.get("x-api-key") else cookie_session_of(services, headers)


def cookie_session_of(services: Services, headers: Headers) -> str | None:
    """The random id of the session in the cookie of the pages. None: there is none."""
    cookie = read_cookie(headers, SESSION_COOKIE)
    return None if cookie is None else read_admin_token(services.secrets.jwt_secrets, cookie)


def looks_like_operator(services: Services, headers: Headers) -> bool:
    """Whether the headers have an admin token or API token in form. Only `identify` says whether it is valid."""
    return is_token_shaped(bearer_of(headers)) or session_of(services, headers) is not None


def require_operator_credential(services: Services, headers: Headers) -> None:
    """Raises `Unauthenticated` without an operator's credential in form; `require_operator` checks it."""
    if not looks_like_operator(services, headers) and not password_of(services, headers):
        raise not_an_operator()


def password_of(services: Services, headers: Headers) -> str | None:
    """The admin password of the legacy header, if the settings accept it there."""
    return headers.get("x-admin-password") if services.settings.accepts_password_header else None


def not_an_operator() -> Unauthenticated:
    """The error for a request without an operator's credential."""
    return Unauthenticated("Unauthorized", hint=HOW_TO_LOG_IN)


async def identify(services: Services, request: IncomingRequest) -> Identity | None:
    """Whose valid token or session a request has, looked up in the database; None: nobody's.

    What is done afterwards in this request counts as theirs in the audit log. Raises `DatabaseAway`, and `Forbidden`
    for a change with a cookie that comes from another site.
    """
    headers = request.headers
    token = bearer_of(headers)
    if is_token_shaped(token):
        identity = await identify_token(
            services.pool, token, peppers=services.secrets.key_peppers, address=request.address
        )
    else:
        session = session_of(services, headers)
        if session is None:
            return None
        if not token:
            require_same_origin(request)
        identity = await identify_session(
            services.pool,
            session,
            section=services.operators,
            secrets_=services.secrets,
            address=request.address,
            user_agent=headers.get("user-agent"),
        )
    if identity is not None:
        CHANGE_ORIGIN.set(identity.origin_after(CHANGE_ORIGIN.get()))
    return identity


async def require_operator(services: Services, request: IncomingRequest, access: Access) -> Identity:
    """The operator of a request. Raises `Unauthenticated`, `Forbidden`, and `RateLimited` after too many passwords."""
    identity = await identify(services, request)
    if identity is None:
        identity = await identify_by_password(services, request)
    identity.require(access)
    return identity


async def identify_by_password(services: Services, request: IncomingRequest) -> Identity:
    """The owner who sends the admin password in the legacy header. Raises `Unauthenticated`, `RateLimited`."""
    password = password_of(services, request.headers)
    if not password or looks_like_operator(services, request.headers):
        raise not_an_operator()
    try:
        require_admin_password(services.operators)
        await log_in(
            services.pool,
            password,
            address=request.address,
            secrets=services.secrets,
            request_id=request.request_id,
            logged=False,
        )
    except (Unauthenticated, Forbidden):
        raise Unauthenticated("Unauthorized") from None
    return Identity(actor="admin", role="owner", method="admin_password")


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
