"""The wire of integrations on real sockets: redirects, streamed bodies, and vendors that do not answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import httpx
import pytest
from aiohttp import web

from kaixu.metering.charges import Meter
from kaixu.metering.connections import open_transport
from kaixu.metering.integration_wire import IntegrationWire
from kaixu.metering.operation_call import limits_for
from kaixu.plugin import Options, PerUnit, TooLarge, Tries, UpstreamTimeout, WireUrl
from kaixu.plugin.origins import Hosts


class VendorOptions(Options):
    url: WireUrl


class Vendor:
    """A server; `hangs` says how many requests get no answer first."""

    def __init__(self) -> None:
        self.url = ""
        self.hangs = 0
        self.got: list[tuple[str, bytes]] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.got.append((request.path, await request.read()))
        if self.hangs:
            self.hangs -= 1
            await asyncio.sleep(3600)
        if request.path == "/moved":
            return web.Response(status=302, headers={"location": "/new"}, text="over there")
        return web.Response(text="fine")


@pytest.fixture
async def vendor() -> AsyncIterator[Vendor]:
    vendor = Vendor()
    app = web.Application(client_max_size=1 << 24)
    app.router.add_route("*", "/{path:.*}", vendor.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    vendor.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield vendor
    await runner.cleanup()


MakeWire = Callable[[Meter], IntegrationWire]


@pytest.fixture
async def make_wire(vendor: Vendor) -> AsyncIterator[MakeWire]:
    """Makes wires to the vendor."""
    transport = open_transport()

    def make(meter: Meter) -> IntegrationWire:
        hosts = Hosts([], VendorOptions(url=vendor.url))
        wire = IntegrationWire(transport, cast(Any, None), limits_for(60), "request", hosts=hosts, meter=meter)
        wire.begin()
        return wire

    yield make
    await transport.aclose()


def bytes_sent(most: int) -> Meter:
    """Charges for bytes that vendors accepted."""
    return Meter(PerUnit("sent", unit="bytes_sent", most=most), 1)


async def pieces(number: int) -> AsyncIterator[bytes]:
    for _ in range(number):
        yield b"x" * 1000
        await asyncio.sleep(0)


async def test_a_redirect_is_an_answer_and_is_not_followed(vendor: Vendor, make_wire: MakeWire) -> None:
    wire = make_wire(bytes_sent(1))
    async with wire.send(httpx.Request("GET", f"{vendor.url}/moved"), accept={302}) as answer:
        assert (await answer.aread(), answer.headers["location"]) == (b"over there", "/new")
    assert [path for path, _ in vendor.got] == ["/moved"]


async def test_a_streamed_body_is_counted_as_it_was_sent(vendor: Vendor, make_wire: MakeWire) -> None:
    meter = bytes_sent(20_000)
    async with make_wire(meter).send(httpx.Request("PUT", vendor.url, content=pieces(20))) as answer:
        assert await answer.aread() == b"fine"
    assert (len(vendor.got[0][1]), meter.units) == (20_000, {"bytes_sent": 20_000})


async def test_a_streamed_body_breaks_off_where_there_is_no_room_for_more(vendor: Vendor, make_wire: MakeWire) -> None:
    meter = bytes_sent(19_999)
    wire = make_wire(meter)
    with pytest.raises(TooLarge, match="20000 bytes_sent are more than the 19999"):
        async with wire.send(httpx.Request("PUT", vendor.url, content=pieces(100_000)), tries=Tries(3)):
            pass
    assert (vendor.got, meter.units, wire.on_its_way, wire.tries) == ([], {}, 0, 1)


async def test_a_try_has_a_time_limit_of_its_own(vendor: Vendor, make_wire: MakeWire) -> None:
    vendor.hangs = 1
    wire, tries = make_wire(bytes_sent(100)), Tries(2, first_wait_s=0.01)
    async with wire.send(httpx.Request("PUT", vendor.url, content=b"body"), tries=tries, timeout_s=1) as answer:
        assert await answer.aread() == b"fine"
    assert [body for _, body in vendor.got] == [b"body", b"body"]
    vendor.hangs = 1
    with pytest.raises(UpstreamTimeout, match=r"within 0\.2 s"):
        async with wire.send(httpx.Request("GET", vendor.url), timeout_s=0.2):
            pass
    assert wire.used
