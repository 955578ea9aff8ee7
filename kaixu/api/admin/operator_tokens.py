"""`admin-tokens`: API tokens for scripts; list, create, revoke. A token is shown only when it is created."""

from __future__ import annotations

from typing import Any

from kaixu.accounts import fields
from kaixu.accounts.fields import MOST_ID, bounded, identifier
from kaixu.accounts.operator_identity import Access
from kaixu.accounts.operator_tokens import MAX_LISTED, OperatorToken, create_token, list_tokens, revoke_token
from kaixu.edge.fields import Fields, read_stored_fields
from kaixu.edge.operators import ACTOR, operator_route
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.reports.values import instant

from .operator_sessions import only_own
from .paging import read_page

#: One's own tokens with the role operator; others' as owner. A viewer's would show nothing that its session does not.
TOKENS = Access("operator", "operators")


def operator_token_routes(services: Services) -> list[Route]:
    """The routes of tokens."""

    async def show(request: IncomingRequest) -> Reply:
        query = Fields(request.args)
        operator_id = query.read("operator_id", lambda value, name: bounded(value, name, MOST_ID, least=1))
        page = read_page(request, MAX_LISTED)
        rows = await list_tokens(
            services.pool,
            operator_id=only_own(request.identity, operator_id),
            with_ended=bool(query.read("ended", fields.switch)),
            before_id=page.before_id,
            limit=page.limit + 1,
        )
        shown = rows[: page.limit]
        return json_reply(
            {
                "tokens": [token_json(row) for row in shown],
                "next_before_id": shown[-1].id if len(rows) > page.limit else None,
            }
        )

    async def create(request: IncomingRequest) -> Reply:
        made = await create_token(
            services.pool,
            read_stored_fields(request).value,
            request.identity,
            pepper=services.secrets.key_pepper,
            request_id=request.request_id,
        )
        return json_reply({"ok": True, "token": token_json(made.row) | {"token": made.token}})

    async def revoke(request: IncomingRequest) -> Reply:
        token_id = Fields(request.args).read("token_id", identifier)
        row = await revoke_token(
            services.pool,
            token_id=token_id,
            operator_id=only_own(request.identity, None),
            actor=ACTOR,
            request_id=request.request_id,
        )
        return json_reply({"ok": True, "token": token_json(row)})

    return [
        operator_route(services, "GET", "admin-tokens", show, access=TOKENS),
        operator_route(services, "POST", "admin-tokens", create, access=TOKENS),
        operator_route(services, "DELETE", "admin-tokens", revoke, access=TOKENS),
    ]


def token_json(row: OperatorToken) -> dict[str, Any]:
    """A token; of the token itself only the last four characters are known."""
    return {
        "id": row.id,
        "name": row.name,
        "last4": row.last4,
        "scopes": row.scopes,
        "operator_id": row.operator_id,
        "email": row.email,
        "created_by": row.created_by,
        "created_at": instant(row.created_at),
        "expires_at": instant(row.expires_at),
        "last_used_at": instant(row.last_used_at),
        "last_address": row.last_address,
        "revoked_at": instant(row.revoked_at),
        "revoked_by": row.revoked_by,
    }
