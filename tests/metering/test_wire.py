"""The wire, against a fake transport: retried before the first byte, in our words, dead after the ticket."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import httpx
import pytest

from kaixu.metering.vendor_response import MOST_WHOLE_BYTES
from kaixu.metering.wire import TicketWire, WireLimits
from kaixu.plugin.errors import (
    KaixuError,
    TicketClosed,
    UpstreamBusy,
    UpstreamError,
    UpstreamRejected,
    UpstreamTimeout,
)


def limits(retries: int = 2) -> WireLimits:
    """Generous time, few retries."""
    return WireLimits(connect_s=1, first_byte_s=5, between_bytes_s=5, total_s=5, retries=retries)


class Script(httpx.AsyncBaseTransport):
    """Answers in order: a status with headers, or an exception."""

    def __init__(self, *answers: int | tuple[int, dict[str, str]] | Exception) -> None:
        self.answers = list(answers)
        self.sends = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.sends += 1
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        status, headers = answer if isinstance(answer, tuple) else (answer, {})
        return httpx.Response(status, headers=headers, content=b"vendor secret")


async def sent(transport: httpx.AsyncBaseTransport, retries: int = 2) -> int:
    """Send once over a fresh wire; the status that the lane saw."""
    async with TicketWire(transport, limits(retries)).send(httpx.Request("POST", "http://vendor/")) as response:
        return response.status_code


async def test_a_vendor_that_recovers_is_tried_again() -> None:
    transport = Script(502, httpx.ConnectError("no"), 200)
    assert await sent(transport) == 200
    assert transport.sends == 3


async def test_after_the_last_try_its_failure_is_raised() -> None:
    transport = Script(500, 500, 500)
    with pytest.raises(UpstreamError, match="failed \\(500\\)"):
        await sent(transport)
    assert transport.sends == 3


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, UpstreamRejected),
        (404, UpstreamRejected),
        (422, UpstreamRejected),
        (401, UpstreamError),
        (403, UpstreamError),
        (302, UpstreamError),
    ],
)
async def test_what_another_try_cannot_mend_is_not_tried_again(status: int, error: type[KaixuError]) -> None:
    transport = Script(status)
    with pytest.raises(error) as raised:
        await sent(transport)
    assert transport.sends == 1
    assert "secret" not in str(raised.value)


async def test_a_long_retry_after_goes_to_the_client_instead_of_being_waited_for() -> None:
    transport = Script((429, {"retry-after": "60"}))
    with pytest.raises(UpstreamBusy) as raised:
        await sent(transport)
    assert (transport.sends, raised.value.retry_after_s) == (1, 60)


async def test_a_timeout_is_a_timeout() -> None:
    with pytest.raises(UpstreamTimeout):
        await sent(Script(httpx.ReadTimeout("slow")), retries=0)


async def test_a_closed_wire_sends_nothing() -> None:
    transport = Script(200)
    wire = TicketWire(transport, limits())
    wire.close()
    with pytest.raises(TicketClosed):
        async with wire.send(httpx.Request("GET", "http://vendor/")):
            pass
    assert transport.sends == 0


async def test_a_retry_after_of_0_is_retried_at_once() -> None:
    transport = Script((429, {"retry-after": "0"}), (503, {"retry-after": "0"}), (429, {"retry-after": "0"}))
    with pytest.raises(UpstreamBusy) as raised:
        await sent(transport)
    assert (transport.sends, raised.value.retry_after_s) == (3, 0)


@pytest.mark.parametrize(
    ("answers", "used"),
    [
        ([200], True),
        ([500], False),
        ([429], False),
        ([400], False),
        ([302], False),
        ([httpx.ConnectError("no")], False),
        ([httpx.ReadError("broken")], True),
        ([httpx.ReadTimeout("slow")], True),
        ([httpx.ReadTimeout("slow"), httpx.ConnectError("no")], True),
        ([httpx.ConnectError("no"), 200], True),
    ],
    ids=str,
)
async def test_a_wire_is_used_when_a_vendor_may_have_worked(answers: list[int | Exception], used: bool) -> None:
    wire = TicketWire(Script(*answers), limits(retries=len(answers) - 1))
    with contextlib.suppress(UpstreamError):
        async with wire.send(httpx.Request("POST", "http://vendor/")):
            pass
    assert wire.used is used


async def test_a_refused_try_does_not_forget_another_that_is_under_way() -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    class Waits(Script):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if request.url.path == "/slow":
                begun.set()
                await go_on.wait()
            return await super().handle_async_request(request)

    wire = TicketWire(Waits(500, 200), limits(retries=0))

    async def send(path: str) -> int:
        async with wire.send(httpx.Request("POST", f"http://vendor{path}")) as response:
            return response.status_code

    slow = asyncio.ensure_future(send("/slow"))
    await begun.wait()
    with pytest.raises(UpstreamError):
        await send("/refused")
    assert wire.used
    go_on.set()
    assert await slow == 200


async def test_a_wait_between_two_tries_is_not_used_time() -> None:
    transport = Script((429, {"retry-after": "5"}))
    wire = TicketWire(transport, limits())

    async def send() -> None:
        async with wire.send(httpx.Request("POST", "http://vendor/")):
            pass

    sending = asyncio.ensure_future(send())
    while not transport.sends:
        await asyncio.sleep(0)
    sending.cancel()
    await asyncio.wait([sending])
    assert (sending.cancelled(), wire.used, transport.sends) == (True, False, 1)


async def test_answers_are_always_requested_uncompressed() -> None:
    request = httpx.Request("POST", "http://vendor/", headers={"accept-encoding": "gzip, br"})
    async with TicketWire(Script(200), limits()).send(request):
        pass
    assert request.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd", "identity, gzip", "GZIP", "anything"])
async def test_a_compressed_answer_is_refused_unread(encoding: str) -> None:
    transport = Endless(headers={"content-encoding": encoding})
    with pytest.raises(UpstreamError, match="compressed its answer"):
        await sent(transport)
    assert (transport.sends, transport.body.sent, transport.body.closed) == (1, 0, True)


@pytest.mark.parametrize("encoding", ["identity", "", " Identity "])
async def test_an_answer_with_identity_encoding_is_read(encoding: str) -> None:
    assert await sent(Script((200, {"content-encoding": encoding}))) == 200


class Body(httpx.AsyncByteStream):
    """Megabytes without end; counts them."""

    def __init__(self) -> None:
        self.sent = 0
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            self.sent += 1
            yield bytes(1024 * 1024)

    async def aclose(self) -> None:
        self.closed = True


class Endless(httpx.AsyncBaseTransport):
    """Answers with a `Body`."""

    def __init__(self, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.status = status
        self.headers = headers
        self.body = Body()
        self.sends = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.sends += 1
        return httpx.Response(self.status, headers=self.headers, stream=self.body)


@pytest.mark.parametrize(
    ("headers", "read"),
    [({}, (MOST_WHOLE_BYTES >> 20) + 1), ({"content-length": "1" + "0" * 12}, 0)],
    ids=["without a length", "with a length"],
)
async def test_a_whole_answer_without_end_is_given_up(headers: dict[str, str], read: int) -> None:
    transport = Endless(headers=headers)

    async def whole() -> bytes:
        async with TicketWire(transport, limits()).send(httpx.Request("POST", "http://vendor/")) as response:
            return await response.aread()

    with pytest.raises(UpstreamError, match="larger than 160 MiB"):
        await whole()
    assert (transport.body.sent, transport.body.closed) == (read, True)


async def test_the_body_of_a_refusal_is_read_up_to_a_limit() -> None:
    transport = Endless(status=400)
    with pytest.raises(UpstreamRejected):
        async with TicketWire(transport, limits()).send(httpx.Request("POST", "http://vendor/")):
            pass
    assert (transport.body.sent, transport.body.closed) == (1, True), "one piece is more than is read"


async def test_a_whole_answer_is_the_same_each_time_it_is_read() -> None:
    async with TicketWire(Script(200), limits()).send(httpx.Request("POST", "http://vendor/")) as response:
        assert await response.aread() == await response.aread() == response.content == b"vendor secret"
