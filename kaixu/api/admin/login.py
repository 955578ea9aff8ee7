"""`admin-login`, `admin-logout` and `admin-session-check`."""

from __future__ import annotations

from typing import Any

from kaixu.accounts import fields
from kaixu.accounts.fields import require_known
from kaixu.accounts.operator_factors import MAX_CODE
from kaixu.accounts.operator_identity import ANY, OWN, Identity
from kaixu.accounts.operator_login import log_in_operator, log_in_with_admin_password
from kaixu.accounts.operator_passwords import MOST_LENGTH
from kaixu.accounts.operator_sessions import LoginClient, end_sessions
from kaixu.edge.fields import read_stored_fields
from kaixu.edge.operator_cookies import SESSION_COOKIE, set_cookie
from kaixu.edge.operators import ACTOR, operator_route, session_of
from kaixu.edge.paths import LOGIN, function_paths
from kaixu.edge.request import IncomingRequest
from kaixu.edge.request_body import SMALL_BODY_BYTES
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.edge.tokens import make_admin_token
from kaixu.plugin.errors import Invalid, Unprocessable
from kaixu.reports.values import instant

KNOWN = ("password", "email", "code", "totp")


def login_routes(services: Services) -> list[Route]:
    """The routes of an operator's login."""

    async def login(request: IncomingRequest) -> Reply:
        body = read_stored_fields(request)
        require_known(body.value, KNOWN)
        password = body.get("password")
        if password is None or password == "":
            raise Invalid("`password` is missing", field="password")
        if not isinstance(password, str) or len(password) > MOST_LENGTH:
            raise Unprocessable(f"`password` must be text of at most {MOST_LENGTH} characters", field="password")
        email = body.read("email", fields.email)
        code = body.text("code", most=MAX_CODE) or body.text("totp", most=MAX_CODE)
        client = login_client(services, request)
        if email is None:
            begun = await log_in_with_admin_password(
                services.pool, password, client, section=services.operators, secrets=services.secrets
            )
        else:
            begun = await log_in_operator(
                services.pool,
                services.passwords,
                email,
                password,
                code,
                client,
                section=services.operators,
                secrets=services.secrets,
            )
        token = make_admin_token(services.secrets.jwt_secret, begun.random_id, ttl_s=begun.lifetime_s)
        reply = {"token": token, "expires_in": begun.lifetime_s, "operator": identity_json(begun.identity)}
        return json_reply(reply, headers={"cache-control": "no-store"})

    async def logout(request: IncomingRequest) -> Reply:
        identity = request.identity
        if identity.session_id is not None:
            await end_sessions(
                services.pool,
                session_id=identity.session_id,
                action="OPERATOR_LOGOUT",
                actor=ACTOR,
                request_id=request.request_id,
            )
        return json_reply({"ok": True}, headers={"set-cookie": set_cookie(SESSION_COOKIE, "", max_age_s=0)})

    async def check_session(request: IncomingRequest) -> Reply:
        return json_reply({"ok": True, "role": "admin", "operator": identity_json(request.identity)})

    return [
        Route(
            "POST",
            function_paths(LOGIN),
            login,
            auth="public",
            rate="address",
            max_body_bytes=SMALL_BODY_BYTES,
        ),
        operator_route(services, "POST", "admin-logout", logout, access=OWN),
        operator_route(services, "GET", "admin-session-check", check_session, access=ANY),
    ]


def login_client(services: Services, request: IncomingRequest) -> LoginClient:
    """Who logs in, with the session that the new one replaces."""
    return LoginClient(
        request.address,
        request.headers.get("user-agent"),
        request.request_id,
        replaces=session_of(services, request.headers),
    )


def identity_json(identity: Identity) -> dict[str, Any]:
    """Whom a credential stands for. `scopes`: of a token; null: everything that the role may do."""
    return {
        "id": identity.operator_id,
        "email": identity.email,
        "name": identity.name,
        "role": identity.role,
        "method": identity.method,
        "session_id": identity.session_id,
        "token_id": identity.token_id,
        "scopes": None if identity.scopes is None else sorted(identity.scopes),
        "has_totp": identity.has_totp,
        "expires_at": instant(identity.expires_at),
    }
