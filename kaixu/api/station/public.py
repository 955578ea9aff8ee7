"""`skye-fuel-station-config` and `skye-fuel-station-overview`: the station for everybody."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, date, datetime
from time import monotonic

from kaixu.accounts import fields
from kaixu.edge.paths import function_paths
from kaixu.edge.request import IncomingRequest
from kaixu.edge.request_body import SMALL_BODY_BYTES
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Handler, Route
from kaixu.edge.services import Services
from kaixu.edge.throttle import Throttle
from kaixu.plugin.errors import DatabaseAway, Unprocessable
from kaixu.reports.station_json import offer_json, public_overview_json
from kaixu.reports.station_snapshot import StationSnapshot, no_snapshot, station_snapshot

#: How long what was read is shown again: thousands of visitors cost one query.
CACHED_S = 60.0

#: How long it is shown that the database is away.
AWAY_S = 2.0

#: The months that everybody may ask for: each is a query over all customers.
MOST_MONTHS_BACK = 24


def station_routes(services: Services, clock: Callable[[], float] = monotonic) -> list[Route]:
    """The public routes of the station."""
    throttle = Throttle(per_address=120, in_all=12_000, window_s=60)
    reading = asyncio.Lock()
    cached: dict[date, tuple[float, StationSnapshot]] = {}

    async def snapshot(month: date) -> StationSnapshot:
        async with reading:
            until, found = cached.get(month, (float("-inf"), None))
            if found is None or until <= clock():
                try:
                    found = await station_snapshot(services.reports, services.station, month)
                except DatabaseAway:  # it was too slow: those who wait must not ask it one after the other
                    found = no_snapshot(month)
                if len(cached) > MOST_MONTHS_BACK:
                    cached.clear()
                cached[month] = clock() + (CACHED_S if found.is_ready else AWAY_S), found
            return found

    async def config(request: IncomingRequest) -> Reply:
        throttle.require(request.address)
        return json_reply(offer_json(services.station), headers={"cache-control": "no-store"})

    async def overview(request: IncomingRequest) -> Reply:
        throttle.require(request.address)
        month = public_month(request.args.get("month"))
        found = await snapshot(month)
        body = public_overview_json(services.station, found.month, found.brain, is_ready=found.is_ready)
        return json_reply(body, headers={"cache-control": "no-store"})

    return [
        public_route("skye-fuel-station-config", config),
        public_route("skye-fuel-station-overview", overview),
    ]


def public_route(name: str, handler: Handler) -> Route:
    """A route of the function `name` for everybody."""
    return Route("GET", function_paths(name), handler, auth="public", rate="address", max_body_bytes=SMALL_BODY_BYTES)


def public_month(value: object) -> date:
    """A month that everybody may ask for; by default the current one. Raises `Unprocessable`."""
    now = datetime.now(UTC).date().replace(day=1)
    month = fields.month(value, "month") or now
    back = (now.year - month.year) * 12 + now.month - month.month
    if not 0 <= back <= MOST_MONTHS_BACK:
        raise Unprocessable(
            f"`month` must be the current month, or one of the {MOST_MONTHS_BACK} before it", field="month"
        )
    return month
