"""`gateway-heartbeat-read`: the gateway's health by the minute, for everybody."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

from kaixu.edge.paths import function_paths
from kaixu.edge.request import IncomingRequest
from kaixu.edge.request_body import SMALL_BODY_BYTES
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.edge.throttle import Throttle
from kaixu.ops.heartbeat import Beat
from kaixu.reports.heartbeat import heartbeats, heartbeats_json

#: How long what was read is shown again: the page of a status that thousands open is one query.
CACHED_S = 5.0


def heartbeat_routes(services: Services, clock: Callable[[], float] = monotonic) -> list[Route]:
    """The route of the heartbeat; browsers of any origin may read it."""
    throttle = Throttle(per_address=120, in_all=12_000, window_s=60)
    reading = asyncio.Lock()
    cached: tuple[float, list[Beat]] = (float("-inf"), [])

    async def beats() -> list[Beat]:
        nonlocal cached
        async with reading:
            if cached[0] + CACHED_S <= clock():
                cached = (clock(), await heartbeats(services.reports, services.beats, cached[1]))
            return cached[1]

    async def read(request: IncomingRequest) -> Reply:
        throttle.require(request.address)
        body = heartbeats_json(await beats(), history=request.args.get("history") in ("1", "true"))
        return json_reply(body, headers={"access-control-allow-origin": "*", "cache-control": "no-store"})

    return [
        Route(
            "GET",
            function_paths("gateway-heartbeat-read"),
            read,
            auth="public",
            rate="address",
            max_body_bytes=SMALL_BODY_BYTES,
            any_origin=True,
        )
    ]
