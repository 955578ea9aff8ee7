"""`admin-platform-ops`: what operators note about a surface."""

from __future__ import annotations

from kaixu.accounts.operator_identity import SETTINGS
from kaixu.accounts.platforms import ops_of, replace_ops, surface
from kaixu.edge.fields import read_stored_fields
from kaixu.edge.operators import operator_route
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.reports.platforms import ops_json


def platform_ops_routes(services: Services) -> list[Route]:
    """The routes of notes."""

    async def show(request: IncomingRequest) -> Reply:
        """The notes about one surface, or about all by app id."""
        app_id = request.args.get("app_id")
        if app_id:
            app_id, _ = surface(services.platforms, app_id)
        noted = await ops_of(services.reports, services.platforms)
        shown = {name: ops_json(ops) for name, ops in noted.items()}
        return json_reply({"ok": True, "platform_ops": shown[app_id] if app_id else shown})

    async def replace(request: IncomingRequest) -> Reply:
        body = read_stored_fields(request)
        ops = await replace_ops(
            services.pool, services.platforms, body.value, actor=request.identity.actor, request_id=request.request_id
        )
        return json_reply({"ok": True, "platform_ops": ops_json(ops)})

    return [
        operator_route(services, "GET", "admin-platform-ops", show),
        operator_route(services, "PUT", "admin-platform-ops", replace, access=SETTINGS),
    ]
