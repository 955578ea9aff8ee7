"""`admin-embed-usage`: a customer's month of embeddings and searches."""

from __future__ import annotations

from kaixu.accounts.fields import identifier
from kaixu.edge.fields import Fields
from kaixu.edge.operators import operator_route
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.reports.embed_usage import embed_usage, embed_usage_json


def embed_usage_routes(services: Services) -> list[Route]:
    """The route of a customer's embeddings."""

    async def show(request: IncomingRequest) -> Reply:
        query = Fields(request.args)
        customer_id = query.read("customer_id", identifier)
        report = await embed_usage(services.reports, customer_id, month=query.get("month"))
        return json_reply(embed_usage_json(report))

    return [operator_route(services, "GET", "admin-embed-usage", show)]
