"""`admin-topup`: raise a month's cap."""

from __future__ import annotations

from quart import Blueprint, Response, g, request

from kaixu.accounts.fields import identifier, require_known
from kaixu.accounts.topups import top_up
from kaixu.config.price import cents_of_nusd, usd
from kaixu.edge.json_body import object_of
from kaixu.edge.operators import ACTOR, OperatorRoutes
from kaixu.edge.response import reply
from kaixu.edge.services import Services
from kaixu.reports.values import month_name

KNOWN = ("customer_id", "amount_cents", "month", "idempotency_key")


def topup_routes(services: Services) -> Blueprint:
    """The route, bound to one gateway."""
    routes = OperatorRoutes("admin_topup", services)

    @routes.at("admin-topup", methods=["POST"])
    async def topup() -> Response:
        given = await object_of(request)
        require_known(given, KNOWN)
        done = await top_up(
            services.pool,
            identifier(given.get("customer_id"), "customer_id"),
            amount_cents=given.get("amount_cents"),
            month=given.get("month"),
            idempotency_key=given.get("idempotency_key") or request.headers.get("idempotency-key"),
            source="manual",
            actor=ACTOR,
            request_id=g.request_id,
        )
        return reply(
            {
                "ok": True,
                "customer_id": done.customer_id,
                "month": month_name(done.month),
                "amount_cents": cents_of_nusd(done.amount_nusd),
                "applied": done.applied,
                "extra_cents": cents_of_nusd(done.extra_nusd),
                "extra_usd": usd(done.extra_nusd),
            }
        )

    return routes.blueprint
