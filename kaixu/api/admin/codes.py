"""`admin-codes`: make, list and revoke redemption codes."""

from __future__ import annotations

from typing import Any

from kaixu.accounts.codes import CodeBatch, ListedCode, create_codes, list_batches, revoke_codes, show_batch
from kaixu.accounts.fields import flag, identifier, require_known
from kaixu.accounts.operator_identity import MONEY
from kaixu.config.price import cents_of_nusd, usd
from kaixu.edge.fields import Fields, read_stored_fields
from kaixu.edge.operators import ACTOR, operator_route
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.plugin.errors import Unprocessable
from kaixu.reports.values import instant

REVOCABLE = ("batch_id", "code_id", "revoked")


def code_routes(services: Services) -> list[Route]:
    """The routes of codes for operators."""

    async def show(request: IncomingRequest) -> Reply:
        if request.args.get("batch_id"):
            page = await show_batch(services.reports, Fields(request.args).read("batch_id", identifier), request.args)
            codes = [code_reply(row) for row in page.codes]
            return json_reply({"batch": batch_reply(page.batch), "codes": codes, "next_after_id": page.next_after_id})
        return json_reply({"batches": [batch_reply(row) for row in await list_batches(services.reports, request.args)]})

    async def create(request: IncomingRequest) -> Reply:
        body = dict(read_stored_fields(request).value)
        body.setdefault("idempotency_key", request.headers.get("idempotency-key"))
        made = await create_codes(
            services.pool, body, pepper=services.secrets.key_pepper, actor=ACTOR, request_id=request.request_id
        )
        return json_reply(
            {"ok": True, "applied": made.codes is not None, "batch": batch_reply(made.batch), "codes": made.codes or []}
        )

    async def change(request: IncomingRequest) -> Reply:
        body = read_stored_fields(request)
        require_known(body.value, REVOCABLE)
        if body.read("revoked", flag) is not True:
            raise Unprocessable("`revoked` must be true: a revoked code is not given back", field="revoked")
        revoked = await revoke_codes(
            services.pool,
            batch_id=None if body.get("batch_id") is None else body.read("batch_id", identifier),
            code_id=None if body.get("code_id") is None else body.read("code_id", identifier),
            actor=ACTOR,
            request_id=request.request_id,
        )
        return json_reply({"ok": True, "revoked": len(revoked)})

    return [
        operator_route(services, "GET", "admin-codes", show),
        operator_route(services, "POST", "admin-codes", create, access=MONEY),
        operator_route(services, "PATCH", "admin-codes", change, access=MONEY),
    ]


def batch_reply(row: CodeBatch) -> dict[str, Any]:
    """A batch."""
    return {
        "id": row.id,
        "amount_cents": cents_of_nusd(row.amount_nusd),
        "amount_usd": usd(row.amount_nusd),
        "expires_at": instant(row.expires_at),
        "email_domain": row.email_domain,
        "plan_name": row.plan_name,
        "note": row.note,
        "codes": row.codes,
        "redeemed": row.redeemed,
        "revoked": row.revoked,
        "created_by": row.created_by,
        "created_at": instant(row.created_at),
    }


def code_reply(row: ListedCode) -> dict[str, Any]:
    """A code, of which only the last four characters are known."""
    return {
        "id": row.id,
        "last4": row.last4,
        "customer_id": row.customer_id,
        "redeemed_at": instant(row.redeemed_at),
        "revoked_at": instant(row.revoked_at),
    }
