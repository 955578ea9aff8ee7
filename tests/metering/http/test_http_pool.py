"""Connections that are used again: which one, and what becomes of those that a vendor closed meanwhile."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import httpx
import pytest

from kaixu.metering import http_pool
from kaixu.metering.http_connection import Connection
from kaixu.metering.http_transport import HttpTransport
from tests.support.raw_vendor import Line, raw_vendor, reply


async def body_of(transport: HttpTransport, url: str, method: str = "POST") -> bytes:
    """The body of the reply to one request."""
    return await (await transport.handle_async_request(httpx.Request(method, url))).aread()


async def numbered(line: Line) -> None:
    """Answer each request with the number of the connection."""
    while await line.request():
        await line.say(reply(b"%d" % line.number))


async def closed(transport: HttpTransport) -> None:
    """Wait until the transport knows that no connection is open."""
    while transport.pool.connections:
        await asyncio.sleep(0.001)


async def test_the_connection_that_was_used_last_is_used_first(transport: HttpTransport) -> None:
    async with raw_vendor(numbered) as vendor:
        opened = [await transport.handle_async_request(httpx.Request("POST", vendor.url)) for _ in range(3)]
        # A reply whose body has come frees its connection; only what is under way at once needs several.
        first = await asyncio.gather(*(body_of(transport, vendor.url) for _ in range(3)))
        assert sorted(first) == [b"1", b"2", b"3"][: len(vendor.lines)]
        again = {await body_of(transport, vendor.url) for _ in range(5)}
        assert len(again) == 1
        assert len(opened) == 3


@pytest.mark.parametrize("farewell", [b"", b"HTTP/1.1 408 Request Timeout\r\n\r\n"], ids=["silently", "with a reply"])
async def test_a_connection_that_the_vendor_closed_is_not_used(farewell: bytes, transport: HttpTransport) -> None:
    async def talk(line: Line) -> None:
        await line.request()
        await line.say(reply(b"%d" % line.number))
        await line.say(farewell)

    async with raw_vendor(talk) as vendor:
        for number in (b"1", b"2"):
            assert await body_of(transport, vendor.url) == number
            await closed(transport)


async def closing_at_the_second(line: Line) -> None:
    """Answer one request, and close the connection when the next one comes."""
    await line.request()
    await line.say(reply(b"%d" % line.number))
    await line.head()


async def test_a_post_is_not_repeated_when_its_connection_ends_without_a_reply(transport: HttpTransport) -> None:
    async with raw_vendor(closing_at_the_second) as vendor:
        assert await body_of(transport, vendor.url) == b"1"
        with pytest.raises(httpx.ReadError):
            await body_of(transport, vendor.url)
        assert len(vendor.lines) == 1


async def test_a_get_is_repeated_once_on_a_new_connection(transport: HttpTransport) -> None:
    async with raw_vendor(closing_at_the_second) as vendor:
        assert [await body_of(transport, vendor.url, "GET") for _ in range(3)] == [b"1", b"2", b"3"]


async def test_a_get_on_a_new_connection_is_not_repeated(transport: HttpTransport) -> None:
    async def talk(line: Line) -> None:
        await line.head()

    async with raw_vendor(talk) as vendor:
        with pytest.raises(httpx.ReadError):
            await body_of(transport, vendor.url, "GET")
        assert len(vendor.lines) == 1


async def test_idle_connections_are_closed(transport: HttpTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_pool, "MOST_IDLE_S", 0.1)
    async with raw_vendor(numbered) as vendor:
        await asyncio.gather(*(body_of(transport, vendor.url) for _ in range(3)))
        await closed(transport)
        assert transport.pool.idle == {}


async def test_an_old_connection_is_looked_at_before_it_is_used(
    transport: HttpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_pool, "LOOK_AFTER_S", 0.0)
    async with raw_vendor(numbered) as vendor:
        assert [await body_of(transport, vendor.url) for _ in range(3)] == [b"1", b"1", b"1"]


async def test_each_request_gets_its_own_reply_while_connections_come_and_go(transport: HttpTransport) -> None:
    chance = random.Random(7)

    async def talk(line: Line) -> None:
        while head := await line.head():
            path = head.split(b" ")[1]
            said = reply(path)
            half = chance.randrange(len(said))
            await line.say(said[:half])
            await asyncio.sleep(0)
            match chance.randrange(8):
                case 0:  # it breaks off
                    return
                case 1:  # it ends behind the reply
                    await line.say(said[half:])
                    return
                case 2:  # something that nobody asked for follows
                    await line.say(said[half:] + reply(b"nobody's")[: chance.randrange(1, 40)])
                case _:
                    await line.say(said[half:])

    async def ask(number: int) -> bool:
        try:
            body = await body_of(transport, f"{vendor.url}{number}", "POST" if number % 2 else "GET")
        except (httpx.ReadError, httpx.RemoteProtocolError):
            return False
        assert body == b"/%d" % number
        return True

    async with raw_vendor(talk) as vendor:
        answered = 0
        for first in range(0, 600, 20):
            answered += sum(await asyncio.gather(*(ask(number) for number in range(first, first + 20))))
    assert answered > 300


async def test_a_connection_that_ends_before_anything_was_sent_was_never_made(
    transport: HttpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def talk(line: Line) -> None:
        """Close at once."""

    connect = transport.pool.connect

    async def connect_slowly(*given: Any) -> Connection:
        connection = await connect(*given)
        while not connection.is_closed:
            await asyncio.sleep(0)
        return connection

    monkeypatch.setattr(transport.pool, "connect", connect_slowly)
    async with raw_vendor(talk) as vendor:
        with pytest.raises(httpx.ConnectError):
            await body_of(transport, vendor.url)
    assert not transport.pool.connections
