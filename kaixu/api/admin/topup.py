"""`admin-topup`: raise a month's cap."""

from __future__ import annotations

from kaixu.accounts.fields import identifier, require_known
from kaixu.accounts.operator_identity import MONEY
from kaixu.accounts.topups import top_up
from kaixu.config.price import cents_of_nusd, usd
from kaixu.edge.fields import read_stored_fields
from kaixu.edge.operators import ACTOR, operator_route
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.reports.values import month_name

KNOWN = ("customer_id", "amount_cents", "month", "idempotency_key")


def topup_routes(services: Services) -> list[Route]:
    """The route of top-ups."""

    async def create(request: IncomingRequest) -> Reply:
        body = read_stored_fields(request)
        require_known(body.value, KNOWN)
        topup = await top_up(
            services.pool,
            body.read("customer_id", identifier),
            amount_cents=body.get("amount_cents"),
            month=body.get("month"),
            idempotency_key=body.get("idempotency_key") or request.headers.get("idempotency-key"),
            source="manual",
            actor=ACTOR,
            request_id=request.request_id,
        )
        return json_reply(
            {
                "ok": True,
                "customer_id": topup.customer_id,
                "month": month_name(topup.month),
                "amount_cents": cents_of_nusd(topup.amount_nusd),
                "applied": topup.applied,
                "extra_cents": cents_of_nusd(topup.extra_nusd),
                "extra_usd": usd(topup.extra_nusd),
            }
        )

    return [operator_route(services, "POST", "admin-topup", create, access=MONEY)]
