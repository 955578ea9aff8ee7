"""`request-key`: a key for whoever has a mail address. Public; see `accounts/selfservice.py`."""

from __future__ import annotations

import asyncio
from typing import Any

from kaixu.accounts.addresses import read_address
from kaixu.accounts.selfservice import request_key
from kaixu.accounts.selfservice_keys import SelfserviceKey
from kaixu.config.price import cents_of_nusd
from kaixu.edge.fields import json_object
from kaixu.edge.own_url import own_url
from kaixu.edge.paths import function_paths
from kaixu.edge.request import IncomingRequest
from kaixu.edge.request_body import SMALL_BODY_BYTES
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.edge.throttle import Throttle

#: Requests that one process passes on to the database at once. They wait for each other there; the connections are for
#: others, too.
AT_ONCE = 2

ENDPOINTS = {"chat": "gateway-chat", "stream": "gateway-stream", "health": "health"}

USAGE = (
    "Send `Authorization: Bearer <key>` with each request. Programs that send an install id in `x-kaixu-install-id` "
    "get a seat each; those that send none share one."
)


def request_key_routes(services: Services) -> list[Route]:
    """The route of requests for keys."""
    # This spares the database; what counts is decided there.
    throttle = Throttle(per_address=60, in_all=1200, window_s=60)
    places = asyncio.Semaphore(AT_ONCE)

    async def request(request: IncomingRequest) -> Reply:
        address = read_address(json_object(request.body).get("email"), "email")
        throttle.require(request.address, "requests for keys")
        async with places:
            made = await request_key(
                services.pool,
                services.selfservice,
                address,
                client=request.address,
                request_id=request.request_id,
            )
        return json_reply(key_reply(services, request, made), headers={"cache-control": "no-store"})

    return [
        Route(
            "POST",
            function_paths("request-key"),
            request,
            auth="public",
            rate="address",
            max_body_bytes=SMALL_BODY_BYTES,
        )
    ]


def key_reply(services: Services, request: IncomingRequest, made: SelfserviceKey) -> dict[str, Any]:
    """The key, its limits, and where to use it."""
    cap_nusd = made.row.monthly_cap_nusd
    cap_cents = cents_of_nusd(made.customer.monthly_cap_nusd if cap_nusd is None else cap_nusd)
    prefix = request.path.rpartition("/")[0]
    return {
        "ok": True,
        "message": "This is your key. It is shown once: store it now.",
        "key": made.key,
        "key_last4": made.row.key_last4,
        "customer_id": made.customer.id,
        "plan": made.customer.plan_name,
        "limits": {
            "monthly_cap_cents": cap_cents,
            "monthly_cap_dollars": f"${cap_cents // 100}.{cap_cents % 100:02d}",
            "requests_per_minute": rpm_of(services, made),
            "max_devices": made.row.max_devices,
        },
        "endpoints": {name: gateway_url(services, request, f"{prefix}/{path}") for name, path in ENDPOINTS.items()},
        "usage": USAGE,
    }


def rpm_of(services: Services, made: SelfserviceKey) -> int:
    """The requests a minute of a key."""
    return services.settings.default_rpm_limit if made.row.rpm_limit is None else made.row.rpm_limit


def gateway_url(services: Services, request: IncomingRequest, path: str) -> str:
    """A URL of the gateway: where clients reach it, or on the host of the request."""
    base = services.settings.gateway_url
    return own_url(request, path) if base is None else base + path
