"""Connections to public addresses only: by number, by a name, and by a name that has both kinds."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import httpx
import pytest
from aiohappyeyeballs import AddrInfoType
from aiohttp import web

from kaixu.metering.http_resolver import Lookup
from kaixu.metering.public_transport import only_public, open_public_transport


def names(*addresses: str) -> Lookup:
    """Every name has these addresses."""

    async def look_up(host: str, port: int) -> list[AddrInfoType]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (one, port)) for one in addresses]

    return look_up


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


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "127.1", "2130706433", "harmless.example"]
)
async def test_nothing_inside_is_reached(host: str, inside: tuple[int, list[str]]) -> None:
    port, arrived = inside
    transport = open_public_transport(names("127.0.0.1"))
    with pytest.raises((httpx.HTTPError, OSError)):
        await transport.handle_async_request(httpx.Request("GET", f"http://{host}:{port}/"))
    await transport.aclose()
    assert arrived == []


async def test_private_addresses_of_a_name_are_dropped() -> None:
    look_up = only_public(names("10.0.0.1", "8.8.8.8", "127.0.0.1"))
    assert [info[4] for info in await look_up("mixed.example", 80)] == [("8.8.8.8", 80)]
