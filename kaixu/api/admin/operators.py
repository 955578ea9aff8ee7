"""`admin-operators`: list, create, change, give a new password, remove a second factor. For owners."""

from __future__ import annotations

from typing import Any

from kaixu.accounts.fields import identifier, require_known
from kaixu.accounts.operator_factors import remove_totp
from kaixu.accounts.operator_identity import OPERATORS
from kaixu.accounts.operator_invitations import invitation_link
from kaixu.accounts.operators import (
    MadeOperator,
    Operator,
    change_operator,
    create_operator,
    find_operator,
    invite_operator,
    list_operators,
    reset_password,
    unlink_operator,
)
from kaixu.edge.fields import read_stored_fields
from kaixu.edge.operators import ACTOR, operator_route
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.plugin.errors import Unprocessable
from kaixu.reports.values import instant

RESETS = ("password", "totp", "invitation", "sso")


def operator_routes(services: Services) -> list[Route]:
    """The routes of operators."""

    async def list_all(request: IncomingRequest) -> Reply:
        rows = await list_operators(services.pool)
        return json_reply({"operators": [operator_json(row) for row in rows]})

    async def create(request: IncomingRequest) -> Reply:
        made = await create_operator(
            services.pool,
            services.passwords,
            read_stored_fields(request).value,
            actor=ACTOR,
            request_id=request.request_id,
        )
        return json_reply({"ok": True, **made_json(made, services)})

    async def change(request: IncomingRequest) -> Reply:
        body = read_stored_fields(request).value
        operator_id = identifier(request.args.get("operator_id") or body.get("operator_id"), "operator_id")
        row = await change_operator(
            services.pool, operator_id, body, keep_owner=True, actor=ACTOR, request_id=request.request_id
        )
        return json_reply({"ok": True, "operator": operator_json(row)})

    async def reset(request: IncomingRequest) -> Reply:
        body = read_stored_fields(request)
        require_known(body.value, ("operator_id", "reset", "password"))
        operator_id = identifier(request.args.get("operator_id") or body.get("operator_id"), "operator_id")
        what = body.one_of("reset", RESETS)
        if what is None:
            raise Unprocessable("`reset` is missing", hint=f"Send one of {', '.join(RESETS)}.", field="reset")
        if what == "password":
            made = await reset_password(
                services.pool,
                services.passwords,
                operator_id,
                body.value,
                actor=ACTOR,
                request_id=request.request_id,
            )
            return json_reply({"ok": True, **made_json(made, services)})
        if what == "invitation":
            made = await invite_operator(services.pool, operator_id, actor=ACTOR, request_id=request.request_id)
            return json_reply({"ok": True, **made_json(made, services)})
        if what == "sso":
            row = await unlink_operator(services.pool, operator_id, actor=ACTOR, request_id=request.request_id)
            return json_reply({"ok": True, "operator": operator_json(row)})
        before = await find_operator(services.pool, operator_id)
        await remove_totp(services.pool, before.id, before.email, actor=ACTOR, request_id=request.request_id)
        return json_reply({"ok": True, "operator": operator_json(await find_operator(services.pool, operator_id))})

    return [
        operator_route(services, "GET", "admin-operators", list_all, access=OPERATORS),
        operator_route(services, "POST", "admin-operators", create, access=OPERATORS),
        operator_route(services, "PATCH", "admin-operators", change, access=OPERATORS),
        operator_route(services, "PUT", "admin-operators", reset, access=OPERATORS),
    ]


def made_json(made: MadeOperator, services: Services) -> dict[str, Any]:
    """A new operator, password or invitation; only this reply shows them, the password only if the gateway made it."""
    link = None if made.invitation is None else invitation_link(made.invitation, services.settings.gateway_url)
    return {"operator": operator_json(made.row), "password": made.password, "invitation": link}


def operator_json(row: Operator) -> dict[str, Any]:
    """An operator."""
    return {
        "id": row.id,
        "email": row.email,
        "name": row.name,
        "role": row.role,
        "has_password": row.has_password,
        "has_totp": row.has_totp,
        "has_single_sign_on": row.oidc_issuer is not None,
        "disabled_at": instant(row.disabled_at),
        "last_login_at": instant(row.last_login_at),
        "created_at": instant(row.created_at),
    }
