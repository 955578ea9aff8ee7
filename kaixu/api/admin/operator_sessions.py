"""`admin-sessions`: an operator's sessions, or everybody's for owners; list and revoke."""

from __future__ import annotations

from typing import Any

from kaixu.accounts import fields
from kaixu.accounts.fields import MOST_ID, bounded, identifier, require_known
from kaixu.accounts.operator_identity import Access, Identity
from kaixu.accounts.operator_sessions import MAX_LISTED, OperatorSession, end_sessions, list_sessions
from kaixu.edge.fields import Fields, read_stored_fields
from kaixu.edge.operators import ACTOR, operator_route
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.plugin.errors import Forbidden, Invalid
from kaixu.reports.values import instant

from .paging import read_page

#: One's own sessions with any role; others' as owner.
SESSIONS = Access("viewer", "operators")


def operator_session_routes(services: Services) -> list[Route]:
    """The routes of sessions."""

    async def show(request: IncomingRequest) -> Reply:
        query = Fields(request.args)
        operator_id = query.read("operator_id", lambda value, name: bounded(value, name, MOST_ID, least=1))
        page = read_page(request, MAX_LISTED)
        rows = await list_sessions(
            services.pool,
            operator_id=only_own(request.identity, operator_id),
            with_ended=bool(query.read("ended", fields.switch)),
            before_id=page.before_id,
            limit=page.limit + 1,
        )
        shown = rows[: page.limit]
        return json_reply(
            {
                "sessions": [session_json(row, request.identity) for row in shown],
                "next_before_id": shown[-1].id if len(rows) > page.limit else None,
            }
        )

    async def revoke(request: IncomingRequest) -> Reply:
        body = Fields(request.args | read_stored_fields(request, may_be_empty=True).value)
        require_known(body.value, ("session_id", "operator_id", "others"))
        identity = request.identity
        session_id = None if body.get("session_id") is None else body.read("session_id", identifier)
        operator_id = body.read("operator_id", lambda value, name: bounded(value, name, MOST_ID, least=1))
        others = body.read("others", fields.switch)
        if session_id is None and operator_id is None and not others:
            raise Invalid("name a `session_id`, an `operator_id`, or send `others`: true", field="session_id")
        if session_id is None and operator_id is None:
            operator_id = identity.operator_id
            if operator_id is None:
                raise Invalid("`others` is for named operators", hint="Name an `operator_id`.", field="others")
        ended = await end_sessions(
            services.pool,
            session_id=session_id,
            operator_id=only_own(identity, operator_id),
            but=identity.session_id if others else None,
            actor=ACTOR,
            request_id=request.request_id,
        )
        return json_reply({"ok": True, "revoked": [row.id for row in ended]})

    return [
        operator_route(services, "GET", "admin-sessions", show, access=SESSIONS),
        operator_route(services, "DELETE", "admin-sessions", revoke, access=SESSIONS),
    ]


def only_own(identity: Identity, operator_id: int | None) -> int | None:
    """Whose rows the caller may see: an owner's choice, else its own. Raises `Forbidden` for another operator's."""
    if identity.role == "owner":
        return operator_id
    if operator_id not in (None, identity.operator_id):
        raise Forbidden("only owners manage other operators", hint="Ask an owner.")
    assert identity.operator_id is not None  # everybody else is an owner
    return identity.operator_id


def session_json(row: OperatorSession, identity: Identity) -> dict[str, Any]:
    """A session. `operator` null: one of the admin password."""
    return {
        "id": row.id,
        "operator_id": row.operator_id,
        "email": row.email,
        "method": row.method,
        "address": row.address,
        "user_agent": row.user_agent,
        "is_current": row.id == identity.session_id,
        "created_at": instant(row.created_at),
        "last_seen_at": instant(row.last_seen_at),
        "expires_at": instant(row.expires_at),
        "revoked_at": instant(row.revoked_at),
        "revoked_by": row.revoked_by,
    }
