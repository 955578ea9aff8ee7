"""The wire on real sockets: vendors that do not listen, refuse early, send nonsense, or are slow."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
import pytest

from kaixu.metering.connections import open_transport
from kaixu.metering.wire import TicketWire, WireLimits
from kaixu.plugin.errors import UpstreamError, UpstreamRejected, UpstreamTimeout
from tests.support.process import free_port

HEAD = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"

Vendor = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def wire_with(
    transport: httpx.AsyncBaseTransport, *, first_byte_s: float = 20, between_bytes_s: float = 20
) -> TicketWire:
    limits = WireLimits(connect_s=20, first_byte_s=first_byte_s, between_bytes_s=between_bytes_s, total_s=60, retries=0)
    return TicketWire(transport, limits)


@asynccontextmanager
async def listening(vendor: Vendor) -> AsyncIterator[str]:
    """A server that runs `vendor` on each connection and then closes it; its URL."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await vendor(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()


@pytest.fixture
async def transport() -> AsyncIterator[httpx.AsyncBaseTransport]:
    """The transport that the gateway uses."""
    transport = open_transport()
    yield transport
    await transport.aclose()


async def body_of(wire: TicketWire, url: str, content: bytes = b"{}") -> bytes:
    """What the vendor's answer holds."""
    async with wire.send(httpx.Request("POST", url, content=content)) as response:
        return await response.aread()


async def test_a_vendor_that_does_not_listen_was_not_used(transport: httpx.AsyncBaseTransport) -> None:
    wire = wire_with(transport)
    with pytest.raises(UpstreamError, match="could not be reached"):
        await body_of(wire, f"http://127.0.0.1:{free_port()}/")
    assert (wire.used, wire.tries) == (False, 1)


async def test_a_client_that_leaves_while_the_vendor_does_not_pick_up_has_used_nothing(
    transport: httpx.AsyncBaseTransport,
) -> None:
    with contextlib.ExitStack() as sockets:
        listener = sockets.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):  # more than the backlog: the next connection must wait
            caller = sockets.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(listener.getsockname())
        wire = wire_with(transport)
        sending = asyncio.ensure_future(body_of(wire, f"http://127.0.0.1:{listener.getsockname()[1]}/"))
        await asyncio.wait([sending], timeout=0.2)
        assert (sending.done(), wire.tries) == (False, 1)
        sending.cancel()
        await asyncio.wait([sending])
    assert not wire.used


async def test_a_client_that_leaves_a_vendor_that_has_the_request_may_have_used_it(
    transport: httpx.AsyncBaseTransport,
) -> None:
    has_it = asyncio.Event()

    async def vendor(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        has_it.set()
        await reader.read()

    async with listening(vendor) as url:
        wire = wire_with(transport)
        sending = asyncio.ensure_future(body_of(wire, url))
        await has_it.wait()
        sending.cancel()
        await asyncio.wait([sending])
    assert wire.used


@pytest.mark.parametrize(
    "words", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 banana\r\n\r\n"], ids=["none", "nonsense", "bad"]
)
async def test_a_vendor_that_hangs_up_or_sends_nonsense_may_have_worked(
    words: bytes, transport: httpx.AsyncBaseTransport
) -> None:
    async def vendor(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(words)

    async with listening(vendor) as url:
        wire = wire_with(transport)
        with pytest.raises(UpstreamError, match="the connection to the vendor broke"):
            await body_of(wire, url)
    assert wire.used


@pytest.mark.filterwarnings("ignore:Sending a large body")  # of aiohttp: it must not fit into the sockets
async def test_a_refusal_before_the_request_was_read_is_received(transport: httpx.AsyncBaseTransport) -> None:
    enough = asyncio.Event()

    async def vendor(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 1000000\r\n\r\n")
        await enough.wait()

    async with listening(vendor) as url:
        wire = wire_with(transport)
        with pytest.raises(UpstreamRejected, match="413"):
            await body_of(wire, url, bytes(32 * 1024 * 1024))
        enough.set()
    assert not wire.used


async def test_a_first_byte_may_take_longer_than_those_that_follow(transport: httpx.AsyncBaseTransport) -> None:
    async def vendor(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.6)
        writer.write(HEAD)
        await asyncio.sleep(0.6)
        writer.write(b"late")

    async with listening(vendor) as url:
        assert await body_of(wire_with(transport, first_byte_s=20, between_bytes_s=0.3), url) == b"late"


async def test_bytes_that_follow_keep_their_own_limit(transport: httpx.AsyncBaseTransport) -> None:
    gone = asyncio.Event()

    async def vendor(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD + b"begun")
        await reader.read()
        gone.set()

    async with listening(vendor) as url:
        with pytest.raises(UpstreamTimeout, match=r"0\.2 s"):
            await body_of(wire_with(transport, first_byte_s=20, between_bytes_s=0.2), url)
        await asyncio.wait_for(gone.wait(), 20)


@pytest.mark.parametrize("between_bytes_s", [0.2, 20], ids=["as wide", "narrower"])
async def test_a_first_byte_that_does_not_come_is_not_waited_for(
    between_bytes_s: float, transport: httpx.AsyncBaseTransport
) -> None:
    async def vendor(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with listening(vendor) as url:
        wire = wire_with(transport, first_byte_s=0.2, between_bytes_s=between_bytes_s)
        with pytest.raises(UpstreamTimeout):
            await body_of(wire, url)
    assert wire.used


async def test_a_slow_reader_is_not_the_vendor_s_silence(transport: httpx.AsyncBaseTransport) -> None:
    async def vendor(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD)
        for _ in range(4):
            writer.write(bytes(1024 * 1024))
            await writer.drain()

    async with listening(vendor) as url:
        wire = wire_with(transport, first_byte_s=2, between_bytes_s=1)
        size = 0
        async with wire.send(httpx.Request("POST", url)) as response:
            async for piece in response.aiter_bytes():
                if size == 0:
                    await asyncio.sleep(1.5)
                size += len(piece)
    assert size == 4 * 1024 * 1024
