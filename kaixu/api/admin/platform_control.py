"""`admin-platform-control`: the surfaces that belong to the gateway, on one page."""

from __future__ import annotations

from kaixu.accounts import fields
from kaixu.edge.operators import operator_route
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.plugin.errors import DatabaseAway, StatementTooSlow
from kaixu.reports.platforms import Surface, counts_json, surface_json, surfaces, unread_surfaces
from kaixu.reports.station_json import brain_json, overview_json
from kaixu.reports.station_snapshot import station_snapshot

from .backup_brain import backup_brain_json


def platform_control_routes(services: Services) -> list[Route]:
    """The route of the page."""

    async def read_surfaces() -> tuple[list[Surface], bool]:
        try:
            return await surfaces(services.reports, services.platforms), True
        except StatementTooSlow:
            raise
        except DatabaseAway:
            return unread_surfaces(services.platforms), False

    async def show(request: IncomingRequest) -> Reply:
        month = fields.month(request.args.get("month"), "month")
        station = services.station
        snapshot = await station_snapshot(services.reports, station, month, with_remote=True, only_totals=True)
        found, is_read = await read_surfaces()
        is_ready = snapshot.is_ready and is_read
        overview, brain = overview_json(snapshot.month), brain_json(station, snapshot.brain)
        figures = {
            "active_customers": overview["customers"]["active"],
            "active_keys": overview["keys"]["active"],
            "token_volume": overview["treasury"]["token_volume"],
            "topup_cents": overview["treasury"]["topup_cents"],
            "brain_connected": brain["connected"],
        }
        platforms = [surface_json(one, figures, is_ready=is_ready) for one in found]
        return json_reply(
            {
                "ok": True,
                "storage_ready": is_ready,
                "counts": {
                    **counts_json(platforms),
                    "station_active_customers": figures["active_customers"],
                    "station_active_keys": figures["active_keys"],
                },
                "month": overview["month"],
                "backup_brain": backup_brain_json(
                    services.platforms.backup_model, services.catalog, services.gate.breakers
                ),
                "station": {"storage_ready": snapshot.is_ready, "brain_gate": brain, "overview": overview},
                "platforms": platforms,
            }
        )

    return [operator_route(services, "GET", "admin-platform-control", show)]
