"""`admin-password` and `admin-totp`: an operator's own password and second factor. For sessions of named operators."""

from __future__ import annotations

from kaixu.accounts.fields import require_known
from kaixu.accounts.operator_factors import MAX_CODE, confirm_totp, offer_totp, remove_totp
from kaixu.accounts.operator_identity import OWN, Identity
from kaixu.accounts.operator_passwords import MOST_LENGTH, acceptable
from kaixu.accounts.operators import change_own_password, require_own_password
from kaixu.edge.fields import Fields, read_stored_fields
from kaixu.edge.operators import ACTOR, operator_route
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.plugin.errors import Conflict


def own_account_routes(services: Services) -> list[Route]:
    """The routes of one's own account."""

    async def set_password(request: IncomingRequest) -> Reply:
        operator_id, _ = named(request.identity)
        body = read_stored_fields(request)
        require_known(body.value, ("current_password", "password"))
        new = acceptable(body.get("password"), "password")
        await change_own_password(
            services.pool,
            services.passwords,
            operator_id,
            current=body.required_text("current_password", most=MOST_LENGTH),
            new=new,
            session_id=request.identity.session_id,
            secrets_=services.secrets,
            actor=ACTOR,
            request_id=request.request_id,
        )
        return json_reply({"ok": True})

    async def begin_totp(request: IncomingRequest) -> Reply:
        operator_id, email = named(request.identity)
        body = read_stored_fields(request, may_be_empty=True)
        await require_password(services, body, operator_id)
        offered = await offer_totp(services.pool, operator_id, email, services.secrets)
        return json_reply({"ok": True, "secret": offered.secret, "uri": offered.uri, "qr_svg": offered.qr_svg})

    async def switch_totp_on(request: IncomingRequest) -> Reply:
        operator_id, email = named(request.identity)
        body = read_stored_fields(request)
        require_known(body.value, ("code",))
        codes = await confirm_totp(
            services.pool,
            operator_id,
            email,
            body.required_text("code", most=MAX_CODE),
            services.secrets,
            actor=ACTOR,
            request_id=request.request_id,
        )
        return json_reply({"ok": True, "recovery_codes": codes})

    async def switch_totp_off(request: IncomingRequest) -> Reply:
        operator_id, email = named(request.identity)
        body = read_stored_fields(request, may_be_empty=True)
        await require_password(services, body, operator_id)
        await remove_totp(services.pool, operator_id, email, actor=ACTOR, request_id=request.request_id)
        return json_reply({"ok": True})

    return [
        operator_route(services, "POST", "admin-password", set_password, access=OWN),
        operator_route(services, "POST", "admin-totp", begin_totp, access=OWN),
        operator_route(services, "PUT", "admin-totp", switch_totp_on, access=OWN),
        operator_route(services, "DELETE", "admin-totp", switch_totp_off, access=OWN),
    ]


async def require_password(services: Services, body: Fields, operator_id: int) -> None:
    """The password again, before the second factor changes: a stolen session must not be able to.

    Raises `Forbidden`, `RateLimited`. Operators without a password, of single sign-on, need none.
    """
    require_known(body.value, ("password",))
    await require_own_password(
        services.pool,
        services.passwords,
        operator_id,
        body.text("password", most=MOST_LENGTH) or "",
        services.secrets,
    )


def named(identity: Identity) -> tuple[int, str]:
    """The operator of a session. Raises `Conflict` for the admin password, which is changed in the environment."""
    if identity.operator_id is None or identity.email is None:
        raise Conflict(
            "this login is the admin password's", hint="Create an operator, and log in with its email and password."
        )
    return identity.operator_id, identity.email
