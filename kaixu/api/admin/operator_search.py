"""`admin-search`: customers, keys, requests and collections by a few characters, for the command palette."""

from __future__ import annotations

from kaixu.accounts.fields import text
from kaixu.edge.fields import Fields
from kaixu.edge.operators import operator_route
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.plugin.errors import Invalid
from kaixu.reports.operator_search import operator_search, results_json

#: The longest text to search for.
MAX_TEXT = 200


def operator_search_routes(services: Services) -> list[Route]:
    """The route of the search."""

    async def search(request: IncomingRequest) -> Reply:
        query = text(Fields(request.args).get("q"), "q", MAX_TEXT)
        if not query:
            raise Invalid("`q` is missing", hint="Send a part of what you look for.", field="q")
        return json_reply({"q": query, "results": results_json(await operator_search(services.reports, query))})

    return [operator_route(services, "GET", "admin-search", search)]
