"""`admin-customers`: list, create, change."""

from __future__ import annotations

from quart import Blueprint, Response, g, request

from kaixu.accounts.customers import change_customer, create_customer, list_customers
from kaixu.accounts.fields import identifier
from kaixu.config.price import nusd_of_cents
from kaixu.edge.json_body import object_of
from kaixu.edge.operators import ACTOR, OperatorRoutes
from kaixu.edge.response import reply
from kaixu.edge.services import Services

from .paging import page_of
from .shape import customer_reply, listed_customer_reply

MOST_LISTED = 1000


def customer_routes(services: Services) -> Blueprint:
    """The routes, bound to one gateway."""
    routes = OperatorRoutes("admin_customers", services)

    @routes.at("admin-customers", methods=["GET"])
    async def listed() -> Response:
        page = page_of(MOST_LISTED)
        rows = await list_customers(services.reports, limit=page.limit, before_id=page.before_id)
        return reply({"customers": [listed_customer_reply(row) for row in rows]})

    @routes.at("admin-customers", methods=["POST"])
    async def create() -> Response:
        made = await create_customer(
            services.pool,
            await object_of(request),
            default_cap_nusd=nusd_of_cents(services.settings.default_customer_cap_cents),
            actor=ACTOR,
            request_id=g.request_id,
        )
        return reply({"customer": customer_reply(made)})

    @routes.at("admin-customers", methods=["PATCH"])
    async def change() -> Response:
        given = await object_of(request)
        customer_id = identifier(request.args.get("customer_id") or given.get("customer_id"), "customer_id")
        after = await change_customer(services.pool, customer_id, given, actor=ACTOR, request_id=g.request_id)
        return reply({"ok": True, "customer": customer_reply(after)})

    return routes.blueprint
