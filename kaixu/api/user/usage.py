"""`user-summary` and `user-events`: what a key has used and has left, and its calls."""

from __future__ import annotations

from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.reports.own_events import own_events, own_events_json
from kaixu.reports.own_summary import own_summary, summary_json

from .credential import credential_of, own_route


def own_usage_routes(services: Services) -> list[Route]:
    """The routes of both."""

    async def summary(request: IncomingRequest) -> Reply:
        return json_reply(
            summary_json(await own_summary(services.reports, credential_of(services, request), request.args))
        )

    async def events(request: IncomingRequest) -> Reply:
        return json_reply(
            own_events_json(await own_events(services.reports, credential_of(services, request), request.args))
        )

    return [own_route("GET", "user-summary", summary), own_route("GET", "user-events", events)]
