"""`admin-key-requests`: requests for keys by mail address; those that are held are approved or denied here."""

from __future__ import annotations

from typing import Any

from kaixu.accounts.fields import require_known
from kaixu.accounts.key_requests import KeyRequest, decide_request, list_requests
from kaixu.accounts.operator_identity import KEYS
from kaixu.edge.fields import Fields, read_stored_fields
from kaixu.edge.operators import ACTOR, operator_route
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.plugin.errors import Unprocessable
from kaixu.reports.values import instant

MAX_LISTED = 500
DECISIONS = ("approve", "deny")


def key_request_routes(services: Services) -> list[Route]:
    """The routes of requests for keys."""

    async def list_all(request: IncomingRequest) -> Reply:
        query = Fields(request.args)
        state, email = query.text("state", most=20) or None, query.text("email", most=500) or None
        rows = await list_requests(services.reports, state=state, email=email, limit=MAX_LISTED)
        return json_reply({"requests": [key_request_reply(row) for row in rows]})

    async def decide(request: IncomingRequest) -> Reply:
        body = read_stored_fields(request)
        require_known(body.value, ("id", "decision"))
        decision = body.one_of("decision", DECISIONS)
        if decision is None:
            raise Unprocessable(f"`decision` must be one of {', '.join(DECISIONS)}", field="decision")
        approval = await decide_request(
            services.pool,
            services.selfservice,
            body.get("id"),
            approve=decision == "approve",
            actor=ACTOR,
            request_id=request.request_id,
        )
        return json_reply({"ok": True, "id": body.get("id"), "outcome": approval.outcome, "address": approval.address})

    return [
        operator_route(services, "GET", "admin-key-requests", list_all),
        operator_route(services, "POST", "admin-key-requests", decide, access=KEYS),
    ]


def key_request_reply(row: KeyRequest) -> dict[str, Any]:
    """A request in the list. `recipient`: whom its link is mailed to."""
    return {
        "id": str(row.id),
        "address": row.address,
        "recipient": row.recipient,
        "state": row.state,
        "customer_id": row.customer_id,
        "key_id": row.key_id,
        "decided_by": row.decided_by,
        "decided_at": instant(row.decided_at),
        "expires_at": instant(row.expires_at),
        "created_at": instant(row.created_at),
    }
