"""Streamed bodies of requests: with a length, in chunks, as fast as the vendor takes them, and broken ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from kaixu.metering.http_transport import HttpTransport
from tests.support.raw_vendor import Line, raw_vendor, reply


async def pieces(*those: bytes) -> AsyncIterator[bytes]:
    for one in those:
        await asyncio.sleep(0)
        yield one


async def test_a_body_without_a_length_is_sent_in_chunks(transport: HttpTransport) -> None:
    seen: list[bytes] = []

    async def talk(line: Line) -> None:
        while head := await line.head():
            assert b"\r\ntransfer-encoding: chunked\r\n" in head.lower()
            seen.append(await line.reader.readuntil(b"0\r\n\r\n"))
            await line.say(reply())

    async with raw_vendor(talk) as vendor:
        for _ in range(2):
            request = httpx.Request("PUT", vendor.url, content=pieces(b"abc", b"", b"x" * 17))
            assert await (await transport.handle_async_request(request)).aread() == b"fine"
        assert len(vendor.lines) == 1
    assert seen == [b"3\r\nabc\r\n11\r\n" + b"x" * 17 + b"\r\n0\r\n\r\n"] * 2


async def test_a_body_with_a_length_is_sent_as_it_is(transport: HttpTransport) -> None:
    seen: list[bytes] = []

    async def talk(line: Line) -> None:
        while request := await line.request():
            seen.append(request.split(b"\r\n\r\n", 1)[1])
            await line.say(reply())

    async with raw_vendor(talk) as vendor:
        for _ in range(2):
            request = httpx.Request("PUT", vendor.url, headers={"content-length": "5"}, content=pieces(b"abc", b"de"))
            assert await (await transport.handle_async_request(request)).aread() == b"fine"
        assert len(vendor.lines) == 1
    assert seen == [b"abcde", b"abcde"]


@pytest.mark.parametrize("those", [(b"ab",), (b"ab", b"cdef")], ids=["short", "long"])
async def test_a_body_that_has_another_length_is_not_ended(those: tuple[bytes, ...], transport: HttpTransport) -> None:
    async def talk(line: Line) -> None:
        await line.request()
        await line.say(reply())

    async with raw_vendor(talk) as vendor:
        request = httpx.Request("PUT", vendor.url, headers={"content-length": "5"}, content=pieces(*those))
        with pytest.raises(httpx.WriteError):
            await transport.handle_async_request(request)


async def test_a_body_that_breaks_off_breaks_the_connection(transport: HttpTransport) -> None:
    got: list[bytes] = []

    async def broken() -> AsyncIterator[bytes]:
        yield b"begun"
        raise ValueError("a secret")

    async def talk(line: Line) -> None:
        got.append(await line.reader.read())

    async with raw_vendor(talk) as vendor:
        with pytest.raises(httpx.WriteError) as raised:
            await transport.handle_async_request(httpx.Request("PUT", vendor.url, content=broken()))
        assert (isinstance(raised.value.__cause__, ValueError), "secret" in str(raised.value)) == (True, False)
        while not got:
            await asyncio.sleep(0.001)
    assert not got[0].endswith(b"0\r\n\r\n")


async def test_a_reply_before_the_end_of_the_body_is_received_and_ends_the_body(transport: HttpTransport) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(65536)

    async def talk(line: Line) -> None:
        await line.head()
        await line.say(reply(b"too large", status=b"413 Too Large"))
        await line.gone()

    async with raw_vendor(talk) as vendor:
        response = await transport.handle_async_request(httpx.Request("PUT", vendor.url, content=endless()))
        assert (response.status_code, await response.aread()) == (413, b"too large")
        while transport.pool.connections:
            await asyncio.sleep(0.001)
        assert transport.pool.idle == {}


@pytest.mark.parametrize("goes_on", [True, False], ids=["and waits", "and hangs up"])
async def test_a_reply_before_the_end_of_a_body_in_memory_is_received(goes_on: bool, transport: HttpTransport) -> None:
    async def talk(line: Line) -> None:
        await line.head()
        await line.say(reply(b"too large", status=b"413 Too Large"))
        if goes_on:
            await asyncio.Event().wait()

    async with raw_vendor(talk) as vendor:
        request = httpx.Request("PUT", vendor.url, content=bytes(32 * 1024 * 1024))
        response = await transport.handle_async_request(request)
        assert (response.status_code, await response.aread()) == (413, b"too large")
        while transport.pool.connections:
            await asyncio.sleep(0.001)


async def test_a_body_is_read_no_faster_than_the_vendor_takes_it(transport: HttpTransport) -> None:
    sent, total, go_on = 0, 32 * 1024 * 1024, asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < total:
            sent += 65536
            yield bytes(65536)

    async def talk(line: Line) -> None:
        head = await line.head()
        await go_on.wait()
        await line.reader.readexactly(total)
        assert b"content-length: %d" % total in head.lower()
        await line.say(reply())
        await line.gone()

    async with raw_vendor(talk) as vendor:
        request = httpx.Request("PUT", vendor.url, headers={"content-length": str(total)}, content=body())
        sending = asyncio.ensure_future(transport.handle_async_request(request))
        before = -1
        while before != sent or not sent:
            before = sent
            for _ in range(100):
                await asyncio.sleep(0.002)
        assert sent < total
        go_on.set()
        assert await (await sending).aread() == b"fine"


@pytest.mark.parametrize("is_streamed", [False, True], ids=["in memory", "streamed"])
async def test_a_vendor_that_takes_nothing_is_not_waited_for(is_streamed: bool, transport: HttpTransport) -> None:
    async def talk(line: Line) -> None:
        await line.head()
        await asyncio.Event().wait()

    async with raw_vendor(talk) as vendor:
        content = pieces(*[bytes(1024 * 1024)] * 32) if is_streamed else bytes(32 * 1024 * 1024)
        extensions = {"timeout": {"connect": 20, "read": 0.2}}
        with pytest.raises(httpx.TimeoutException):
            await transport.handle_async_request(
                httpx.Request("PUT", vendor.url, content=content, extensions=extensions)
            )


async def test_a_body_that_is_slow_itself_is_not_the_vendor_s_silence(transport: HttpTransport) -> None:
    async def slow() -> AsyncIterator[bytes]:
        for _ in range(3):
            await asyncio.sleep(0.3)
            yield b"piece"

    async def talk(line: Line) -> None:
        await line.head()
        await line.reader.readuntil(b"0\r\n\r\n")
        await line.say(reply())
        await line.gone()

    async with raw_vendor(talk) as vendor:
        extensions = {"timeout": {"connect": 20, "read": 0.2}}
        request = httpx.Request("PUT", vendor.url, content=slow(), extensions=extensions)
        assert await (await transport.handle_async_request(request)).aread() == b"fine"
