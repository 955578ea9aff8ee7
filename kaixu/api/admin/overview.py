"""`admin-overview`: the gateway at a glance, for operators."""

from __future__ import annotations

from kaixu.edge.operators import operator_route
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.reports.attention import attention_json
from kaixu.reports.overview import overview_json, read_overview
from kaixu.reports.shared_reads import SharedReads

from .overview_attention import attention_items


def overview_routes(services: Services) -> list[Route]:
    """The route of the overview."""
    shared = SharedReads()

    async def show(request: IncomingRequest) -> Reply:
        overview = await shared.read((), lambda: read_overview(services.reports))
        attention = attention_json(attention_items(services, overview.attention))
        return json_reply(overview_json(overview) | {"attention": attention})

    return [operator_route(services, "GET", "admin-overview", show)]
