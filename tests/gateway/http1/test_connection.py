"""A connection of ordinary requests: how replies are framed, and what becomes of bad ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypercorn.config import Config

from kaixu.gateway.app import Application
from kaixu.gateway.connections import Connections

App = Callable[[Any, Any, Any], Awaitable[None]]
GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
HEAD = b"HEAD / HTTP/1.1\r\nhost: x\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"  # left to Hypercorn
LAST = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"


class Served:
    """A server of one application."""

    def __init__(self) -> None:
        self.app: App = nothing
        self.connections = Connections(cast(Application, self), Config(), keep_alive_s=75)
        self.writers: list[asyncio.StreamWriter] = []

    @property
    def exchange(self) -> Any:
        """What serves a request."""
        return SimpleNamespace(serve=lambda *given: self.app(*given))

    async def __call__(self, *given: Any) -> None:
        await self.app(*given)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A new connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers.append(writer)
        return reader, writer

    async def said(self, app: App, data: bytes) -> bytes:
        """Everything that comes back for these bytes, until the connection ends."""
        self.app = app
        reader, writer = await self.connect()
        writer.write(data)
        async with asyncio.timeout(20):
            return await reader.read()

    port = 0


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    """Sends no reply."""


def replying(
    *pieces: bytes, status: int = 200, headers: tuple[tuple[bytes, bytes], ...] = (), ends: bool = True
) -> App:
    """An application that sends these pieces."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": list(headers), "trailers": False})
        for at, piece in enumerate(pieces, start=1):
            more = not ends or at < len(pieces)
            await send({"type": "http.response.body", "body": piece, "more_body": more})

    return app


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    """A server, which is stopped after the test."""
    one = Served()
    server = await asyncio.get_running_loop().create_server(one.connections.accept, "127.0.0.1", 0)
    one.port = server.sockets[0].getsockname()[1]
    yield one
    for writer in one.writers:
        writer.close()
    server.close()
    assert await one.connections.wait(20)


def without_date(reply: bytes) -> bytes:
    """The reply without the line that changes."""
    return b"\r\n".join(line for line in reply.split(b"\r\n") if not line.startswith(b"date: "))


async def test_replies_are_framed_by_their_length_or_in_chunks(served: Served) -> None:
    whole = replying(b"ab", b"c", headers=((b"content-length", b"3"),))
    assert without_date(await served.said(whole, GET + HEAD + LAST)) == (
        b"HTTP/1.1 200 \r\ncontent-length: 3\r\n\r\nabc"
        b"HTTP/1.1 200 \r\ncontent-length: 3\r\n\r\n"
        b"HTTP/1.1 200 \r\ncontent-length: 3\r\nconnection: close\r\n\r\nabc"
    )
    streamed = replying(b"ab", b"", b"c", b"")
    assert without_date(await served.said(streamed, HEAD + LAST)) == (
        b"HTTP/1.1 200 \r\ntransfer-encoding: chunked\r\n\r\n"
        b"HTTP/1.1 200 \r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    )
    empty = replying(b"", status=204)
    assert without_date(await served.said(empty, GET + LAST)) == (
        b"HTTP/1.1 204 \r\n\r\nHTTP/1.1 204 \r\nconnection: close\r\n\r\n"
    )


@pytest.mark.parametrize(
    "app",
    [
        nothing,
        replying(b"", headers=((b"x", b"a\r\nset-cookie: b"),)),
        replying(b"", headers=((b"x\r\ny", b"a"),)),
        replying(b"", headers=((b"X", b"a"),)),
    ],
    ids=["no reply", "line break in a value", "line break in a name", "capital letters"],
)
async def test_what_is_no_reply_is_an_error_of_ours(served: Served, app: App) -> None:
    said = await served.said(app, GET + GET)
    assert without_date(said) == b"HTTP/1.1 500 \r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


@pytest.mark.parametrize(
    ("app", "end"),
    [
        (replying(b"ab", ends=False), b"\r\n\r\n2\r\nab\r\n"),
        (replying(b"ab", headers=((b"content-length", b"5"),)), b"\r\n\r\nab"),
        (replying(b"ab", b"cd", headers=((b"content-length", b"3"),)), b"\r\n\r\nab"),
        (replying(headers=((b"content-length", b"3"),)), b"content-length: 3\r\n\r\n"),
    ],
    ids=["no last chunk", "too short", "too long", "only a head"],
)
async def test_a_reply_that_is_not_whole_ends_the_connection(served: Served, app: App, end: bytes) -> None:
    said = without_date(await served.said(app, GET + GET))
    assert said.startswith(b"HTTP/1.1 200 \r\n")
    assert said.endswith(end)
    assert said.count(b"HTTP/1.1 ") == 1


async def test_a_reply_before_its_request_s_end_ends_the_connection(served: Served) -> None:
    app = replying(b"abc", headers=((b"content-length", b"3"),))
    said = await served.said(app, b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhe")
    assert said.endswith(b"\r\n\r\nabc")


async def test_a_client_that_does_not_read_makes_the_application_wait(served: Served) -> None:
    sent = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        await send({"type": "http.response.start", "status": 200, "headers": [], "trailers": False})
        for _ in range(1000):
            await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
            sent += 1
            await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    served.app = app
    reader, writer = await served.connect()
    writer.write(LAST)
    before = -1
    while sent != before or not sent:
        before = sent
        for _ in range(1000):
            await asyncio.sleep(0)
    assert sent < 500
    async with asyncio.timeout(60):
        assert len(await reader.read()) > 100_000_000
    assert sent == 1000


def stalling(*, ends: bool) -> App:
    """An application that sends more than the client takes, and gives up; `ends`: after the reply's last piece."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [], "trailers": False})
        message = {"type": "http.response.body", "body": b"x" * 50_000_000, "more_body": not ends}
        sending = asyncio.create_task(send(message))
        for _ in range(100):
            await asyncio.sleep(0)
        assert sending.cancel()

    return app


@pytest.mark.parametrize("ends", [False, True], ids=["within a reply", "at its end"])
@pytest.mark.parametrize("request_bytes", [GET, CHUNKED], ids=["ordinary", "Hypercorn"])
async def test_a_client_that_does_not_read_cannot_keep_the_connection(
    served: Served, monkeypatch: pytest.MonkeyPatch, ends: bool, request_bytes: bytes
) -> None:
    monkeypatch.setattr("kaixu.gateway.http1.connection.LAST_READ_S", 0.01)
    monkeypatch.setattr("kaixu.gateway.connections.LAST_READ_S", 0.01)
    served.connections.keep_alive_s = 0.01
    served.app = stalling(ends=ends)
    reader, writer = await served.connect()
    cast(Any, reader)._transport.pause_reading()
    writer.write(request_bytes)
    connections = served.connections
    while not (connections.plain or connections.open):
        await asyncio.sleep(0)
    await connections.wait(20)  # closed, or handed over to Hypercorn
    assert await connections.wait(20)


async def test_a_client_that_stalls_within_a_reply_is_cut_off_at_once(served: Served) -> None:
    served.app = stalling(ends=False)
    reader, writer = await served.connect()
    cast(Any, reader)._transport.pause_reading()
    writer.write(GET)
    while not served.connections.plain:
        await asyncio.sleep(0)
    assert await served.connections.wait(20)


@pytest.mark.parametrize("request_bytes", [GET, CHUNKED], ids=["ordinary", "Hypercorn"])
async def test_a_connection_ends_when_its_client_sends_nothing_more(served: Served, request_bytes: bytes) -> None:
    served.app = replying(b"abc", headers=((b"content-length", b"3"),))
    for is_idle in (True, False):
        reader, writer = await served.connect()
        writer.write(request_bytes)
        async with asyncio.timeout(20):
            if is_idle:
                await reader.readuntil(b"\r\n\r\nabc")
            writer.write_eof()
            await reader.read()


async def test_a_body_that_nobody_reads_makes_the_client_wait_and_a_client_that_leaves_is_noticed(
    served: Served,
) -> None:
    begun, read_on, seen = asyncio.Event(), asyncio.Event(), list[Any]()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        begun.set()
        await read_on.wait()
        while not seen or seen[-1]["type"] == "http.request":
            seen.append(await receive())
        read_on.clear()

    served.app = app
    _, writer = await served.connect()
    writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 90000000\r\n\r\n" + b"x" * 50_000_000)
    await begun.wait()
    for _ in range(2000):
        await asyncio.sleep(0)
    assert cast(Any, writer.transport).get_write_buffer_size() > 10_000_000
    read_on.set()
    async with asyncio.timeout(60):
        await writer.drain()
        writer.close()
        while read_on.is_set():
            await asyncio.sleep(0)
    assert sum(len(one.get("body", b"")) for one in seen) == 50_000_000
    assert seen[-1] == {"type": "http.disconnect"}


async def test_idle_connections_are_closed_at_the_end_and_running_requests_answered(served: Served) -> None:
    may_end = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await may_end.wait()
        await replying(b"abc", headers=((b"content-length", b"3"),))(scope, receive, send)

    served.app = app
    idle, _ = await served.connect()
    busy, writer = await served.connect()
    writer.write(GET)
    while len(served.connections.plain) < 2:
        await asyncio.sleep(0)
    served.connections.end()
    async with asyncio.timeout(20):
        assert await idle.read() == b""
        may_end.set()
        assert (await busy.read()).endswith(b"\r\n\r\nabc")
