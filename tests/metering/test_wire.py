"""The wire, against a fake transport: retried before the first byte, in our words, dead after the ticket."""

from __future__ import annotations

import httpx
import pytest

from kaixu.metering.wire import Limits, TicketWire, retry_after
from kaixu.plugin.errors import (
    KaixuError,
    TicketClosed,
    UpstreamBusy,
    UpstreamError,
    UpstreamRejected,
    UpstreamTimeout,
)


def limits(retries: int = 2) -> Limits:
    """Generous time, few retries."""
    return Limits(connect_s=1, first_byte_s=5, between_bytes_s=5, total_s=5, retries=retries)


class Script(httpx.AsyncBaseTransport):
    """Answers in order: a status with headers, or an exception."""

    def __init__(self, *answers: int | tuple[int, dict[str, str]] | Exception) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        status, headers = answer if isinstance(answer, tuple) else (answer, {})
        return httpx.Response(status, headers=headers, content=b"vendor secret")


async def sent(transport: Script, retries: int = 2) -> int:
    """Send once over a fresh wire; the status that the lane saw."""
    async with TicketWire(transport, limits(retries)).send(httpx.Request("POST", "http://vendor/")) as response:
        return response.status_code


async def test_a_vendor_that_recovers_is_asked_again() -> None:
    transport = Script(503, httpx.ConnectError("no"), 200)
    assert await sent(transport) == 200
    assert transport.asked == 3


async def test_the_last_failure_is_told_when_the_tries_are_used_up() -> None:
    transport = Script(500, 500, 500)
    with pytest.raises(UpstreamError, match="failed \\(500\\)"):
        await sent(transport)
    assert transport.asked == 3


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
    assert transport.asked == 1
    assert "secret" not in str(raised.value)


async def test_a_long_retry_after_goes_to_the_client_instead_of_being_waited_for() -> None:
    transport = Script((429, {"retry-after": "60"}))
    with pytest.raises(UpstreamBusy) as raised:
        await sent(transport)
    assert (transport.asked, raised.value.retry_after_s) == (1, 60)


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
    assert transport.asked == 0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after-ms": "1500"}, 2),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_all_its_forms(headers: dict[str, str], seconds: int | None) -> None:
    assert retry_after(httpx.Headers(headers)) == seconds
