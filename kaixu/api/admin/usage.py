"""`admin-usage`: a customer's month."""

from __future__ import annotations

from quart import Blueprint, Response, request

from kaixu.accounts.fields import identifier
from kaixu.edge.operators import OperatorRoutes
from kaixu.edge.response import reply
from kaixu.edge.services import Services
from kaixu.reports.usage import customer_usage, customer_usage_json


def usage_routes(services: Services) -> Blueprint:
    """The route, of one gateway."""
    routes = OperatorRoutes("admin_usage", services)

    @routes.at("admin-usage", methods=["GET"])
    async def usage() -> Response:
        customer_id = identifier(request.args.get("customer_id"), "customer_id")
        report = await customer_usage(services.reports, customer_id, month=request.args.get("month"))
        return reply(customer_usage_json(report))

    return routes.blueprint
