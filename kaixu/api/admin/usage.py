"""`admin-usage`: a customer's month."""

from __future__ import annotations

from kaixu.accounts.fields import identifier
from kaixu.edge.fields import Fields
from kaixu.edge.operators import operator_route
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.reports.usage import customer_usage, customer_usage_json


def usage_routes(services: Services) -> list[Route]:
    """The route of a customer's usage."""

    async def show(request: IncomingRequest) -> Reply:
        query = Fields(request.args)
        customer_id = query.read("customer_id", identifier)
        report = await customer_usage(services.reports, customer_id, request.args)
        return json_reply(customer_usage_json(report))

    return [operator_route(services, "GET", "admin-usage", show)]
