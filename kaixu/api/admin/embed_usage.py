"""`admin-embed-usage`: a customer's month of embeddings and searches."""

from __future__ import annotations

from quart import Blueprint, Response, request

from kaixu.accounts.fields import identifier
from kaixu.edge.operators import OperatorRoutes
from kaixu.edge.response import reply
from kaixu.edge.services import Services
from kaixu.reports.embed_usage import embed_usage, embed_usage_json


def embed_usage_routes(services: Services) -> Blueprint:
    """The route of one gateway."""
    routes = OperatorRoutes("admin_embed_usage", services)

    @routes.at("admin-embed-usage", methods=["GET"])
    async def usage() -> Response:
        customer_id = identifier(request.args.get("customer_id"), "customer_id")
        report = await embed_usage(services.reports, customer_id, month=request.args.get("month"))
        return reply(embed_usage_json(report))

    return routes.blueprint
