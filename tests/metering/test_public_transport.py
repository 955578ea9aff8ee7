"""Connections to public addresses only: by number, by a name, and by a name that has both kinds."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import httpx
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from kaixu.metering.public_transport import PublicResolver, open_public_transport


class Names(AbstractResolver):
    """Every name has these addresses."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=one, port=port, family=socket.AF_INET, proto=0, flags=0)
            for one in self.addresses
        ]

    async def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
async def inside() -> AsyncIterator[tuple[int, list[str]]]:
    """A server on the loopback: its port, and what has arrived."""
    arrived: list[str] = []

    async def take(request: web.Request) -> web.Response:
        arrived.append(request.host)
        return web.Response()

    app = web.Application()
    app.router.add_route("*", "/", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner.addresses[0][1], arrived
    await runner.cleanup()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "2130706433", "harmless.example"])
async def test_nothing_inside_is_reached(host: str, inside: tuple[int, list[str]]) -> None:
    port, arrived = inside
    transport = open_public_transport(Names("127.0.0.1"))
    with pytest.raises((httpx.HTTPError, OSError)):
        await transport.handle_async_request(httpx.Request("GET", f"http://{host}:{port}/"))
    await transport.aclose()
    assert arrived == []


async def test_private_addresses_of_a_name_are_dropped() -> None:
    resolver = PublicResolver(Names("10.0.0.1", "8.8.8.8", "127.0.0.1"))
    assert [one["host"] for one in await resolver.resolve("mixed.example")] == ["8.8.8.8"]
