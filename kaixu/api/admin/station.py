"""`admin-skyefuel-station`: the station and a month of it, for operators."""

from __future__ import annotations

from kaixu.accounts import fields
from kaixu.edge.operators import operator_route
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.reports.shared_reads import SharedReads
from kaixu.reports.station_json import snapshot_json
from kaixu.reports.station_snapshot import station_snapshot


def admin_station_routes(services: Services) -> list[Route]:
    """The route of the station for operators."""
    shared = SharedReads()

    async def show(request: IncomingRequest) -> Reply:
        month = fields.month(request.args.get("month"), "month")
        station = services.station
        found = await shared.read(
            (month, station.brain.url),
            lambda: station_snapshot(services.reports, station, month, with_remote=True),
        )
        return json_reply(snapshot_json(station, found.month, found.brain, is_ready=found.is_ready))

    return [operator_route(services, "GET", "admin-skyefuel-station", show)]
