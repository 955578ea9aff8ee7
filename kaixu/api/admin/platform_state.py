"""`admin-platform-state`: a surface's document."""

from __future__ import annotations

from typing import Any

from kaixu.accounts.operator_identity import SETTINGS
from kaixu.accounts.platforms import remove_state, replace_state, state_of, surface
from kaixu.edge.fields import read_stored_fields
from kaixu.edge.operators import operator_route
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.reports.platforms import app_json, one_surface_json


def platform_state_routes(services: Services) -> list[Route]:
    """The routes of documents."""

    async def platform(app_id: str) -> dict[str, Any]:
        """The surface as `admin-platform-control` shows it, without the station's figures."""
        return await one_surface_json(services.pool, services.platforms, app_id)

    async def show(request: IncomingRequest) -> Reply:
        app_id, section = surface(services.platforms, request.args.get("app_id"))
        document = await state_of(services.pool, services.platforms, app_id)
        return json_reply(
            {
                "ok": True,
                "app": app_json(app_id, section),
                "state": None if document is None else document.state,
                "platform": await platform(app_id),
            }
        )

    async def replace(request: IncomingRequest) -> Reply:
        body = read_stored_fields(request)
        app_id = request.args.get("app_id") or body.get("app_id")
        given = {name: value for name, value in body.value.items() if name != "app_id"}
        document = await replace_state(
            services.pool,
            services.platforms,
            app_id,
            given,
            actor=request.identity.actor,
            request_id=request.request_id,
        )
        return json_reply({"ok": True, "platform": await platform(document.app_id)})

    async def remove(request: IncomingRequest) -> Reply:
        app_id, removed = await remove_state(
            services.pool,
            services.platforms,
            request.args.get("app_id"),
            actor=request.identity.actor,
            request_id=request.request_id,
        )
        return json_reply({"ok": True, "deleted": removed, "app_id": app_id})

    return [
        operator_route(services, "GET", "admin-platform-state", show),
        operator_route(services, "PUT", "admin-platform-state", replace, access=SETTINGS),
        operator_route(services, "DELETE", "admin-platform-state", remove, access=SETTINGS),
    ]
