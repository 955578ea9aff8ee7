"""The wire of integrations on a fake transport: declared hosts, answers of every status, tries, and counted bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal

import httpx
import pytest

from kaixu.metering.charges import Meter
from kaixu.metering.integration_wire import IntegrationWire
from kaixu.metering.operation_call import limits_for
from kaixu.plugin import (
    Free,
    HostNotDeclared,
    Options,
    PerUnit,
    TicketClosed,
    TooLarge,
    Tries,
    UpstreamBusy,
    UpstreamError,
    UpstreamRejected,
    WireUrl,
)
from kaixu.plugin.origins import Hosts

Answer = int | tuple[int, dict[str, str]] | Exception

#: Tries that do not wait long.
QUICK = Tries(3, first_wait_s=0.001, most_wait_s=30)


class Script(httpx.AsyncBaseTransport):
    """Answers in order, and reads each request's body as a real transport does."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.bodies: list[bytes] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert isinstance(request.stream, httpx.AsyncByteStream)
        try:
            self.bodies.append(b"".join([piece async for piece in request.stream]))
        except TooLarge as error:  # as aiohttp does with whatever a body raises
            raise httpx.WriteError("the body broke off") from error
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        status, headers = answer if isinstance(answer, tuple) else (answer, {})
        return httpx.Response(status, headers=headers, content=b"an answer")


class VendorOptions(Options):
    base_url: WireUrl = "https://api.vendor.example/v1"
    mirrors: tuple[WireUrl, ...] = ()
    other_url: str = "https://not-named.example"


def wire_with(
    transport: httpx.AsyncBaseTransport,
    *,
    hosts: Sequence[str] | Literal["any-public"] = ("vendor.example",),
    options: Options | None = None,
    meter: Meter | None = None,
    timeout_s: float = 60,
    public: httpx.AsyncBaseTransport | None = None,
) -> IntegrationWire:
    wire = IntegrationWire(
        transport,
        public or Script(),
        limits_for(timeout_s),
        "request",
        hosts=Hosts(hosts, options),
        meter=meter or Meter(Free("a test"), 0),
    )
    wire.begin()
    return wire


def post(content: Any = b"{}", url: str = "https://vendor.example/") -> httpx.Request:
    return httpx.Request("POST", url, content=content)


async def answer_of(wire: IntegrationWire, request: httpx.Request | None = None, **how: Any) -> tuple[int, bytes]:
    async with wire.send(request or post(), **how) as response:
        return response.status_code, await response.aread()


@pytest.mark.parametrize("status", [302, 304, 404, 409, 422, 429, 500])
async def test_an_accepted_answer_comes_with_its_body(status: int) -> None:
    assert await answer_of(wire_with(Script(status)), accept={status}) == (status, b"an answer")


@pytest.mark.parametrize("status", [201, 301, 401, 404, 429, 500, 599])
async def test_every_answer_can_be_accepted(status: int) -> None:
    wire = wire_with(Script(status))
    assert await answer_of(wire, accept="all") == (status, b"an answer")
    assert wire.used is (status not in (401, 429, 500, 599))


async def test_what_is_accepted_is_still_tried_again() -> None:
    assert (await answer_of(wire_with(Script(503, 404)), accept="all", tries=QUICK))[0] == 404
    assert (await answer_of(wire_with(Script(503)), accept="all"))[0] == 503


@pytest.mark.parametrize("accept", ["404", "", "ALL"])
async def test_a_text_names_no_statuses(accept: Any) -> None:
    with pytest.raises(ValueError, match="names statuses"):
        await answer_of(wire_with(Script(200)), accept=accept)


async def test_an_answer_is_read_up_to_its_limit() -> None:
    assert await answer_of(wire_with(Script(200)), most_bytes=9) == (200, b"an answer")
    with pytest.raises(UpstreamError, match="larger than 8 bytes"):
        await answer_of(wire_with(Script(200)), most_bytes=8)
    with pytest.raises(UpstreamError, match="larger than 8 bytes"):  # its announced length is enough
        await answer_of(wire_with(Script((200, {"content-length": "9"}))), most_bytes=8)
    pieces = []
    with pytest.raises(UpstreamError, match="larger than 1 MiB"):
        async with wire_with(Stream(b"x" * 600_000, b"y" * 600_000)).send(post(), most_bytes=1 << 20) as answer:
            pieces = [len(piece) async for piece in answer.aiter_raw()]
    assert pieces == []
    for wrong in (0, -1, True, 1.5):
        with pytest.raises(ValueError, match="`most_bytes` of an answer"):
            await answer_of(wire_with(Script(200)), most_bytes=wrong)


async def test_an_answer_of_any_length_is_read_in_pieces() -> None:
    async with wire_with(Stream(*[b"x" * (1 << 20)] * 200)).send(post()) as answer:
        assert sum([len(piece) async for piece in answer.aiter_raw()]) == 200 << 20
    with pytest.raises(UpstreamError, match="larger than 160 MiB"):
        await answer_of(wire_with(Stream(*[b"x" * (1 << 20)] * 200)), most_bytes=300 << 20)


class Stream(httpx.AsyncBaseTransport):
    """Answers with a body in pieces."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = pieces

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        async def body() -> AsyncIterator[bytes]:
            for piece in self.pieces:
                yield piece

        return httpx.Response(200, content=body())


async def test_an_answer_that_is_not_accepted_is_an_error() -> None:
    with pytest.raises(UpstreamRejected):
        await answer_of(wire_with(Script(404)), accept={409})


@pytest.mark.parametrize(
    ("status", "used"),
    [(200, True), (303, True), (404, True), (409, True), (422, True), (401, False), (403, False), (429, False), (503, False)],
)  # fmt: skip
async def test_an_accepted_answer_counts_as_used_unless_it_says_that_nothing_was_done(status: int, used: bool) -> None:
    wire = wire_with(Script(status))
    await answer_of(wire, accept=range(300, 600))
    assert wire.used is used


@pytest.mark.parametrize(
    "url",
    [
        "https://other.example/",
        "http://vendor.example/",
        "https://vendor.example:8443/",
        "https://api.vendor.example/",
        "https://vendor.example.evil.example/",
        "https://vendor.example@evil.example/",
        "https://not-named.example/",
        "ftp://vendor.example/",
        "https:///path",
    ],
)
async def test_nothing_is_sent_where_nothing_was_declared(url: str) -> None:
    transport = Script(200)
    wire = wire_with(transport, options=VendorOptions(base_url="http://127.0.0.1:1/"))
    with pytest.raises(HostNotDeclared) as raised:
        await answer_of(wire, post(url=url), tries=QUICK)
    assert (transport.bodies, wire.tries, wire.used, raised.value.status) == ([], 0, False, 502)
    assert not wire.may_send_to(url)
    assert not wire_with(transport, hosts=()).may_send_to("https://vendor.example/"), "none declared is none"


@pytest.mark.parametrize(
    "url",
    [
        "https://vendor.example:443/x?y=1",
        "https://VENDOR.example/",
        "https://other.example:8443/",
        "https://api.vendor.example/elsewhere",
        "http://127.0.0.1:8081/",
        "http://[::1]:8081/",
    ],
)
async def test_what_is_declared_or_named_by_an_option_can_be_reached(url: str) -> None:
    options = VendorOptions(mirrors=("http://127.0.0.1:8081/in", "http://[::1]:8081"))
    wire = wire_with(Script(200), hosts=["vendor.example", "other.example:8443"], options=options)
    assert wire.may_send_to(url)
    assert (await answer_of(wire, post(url=url)))[0] == 200


async def test_any_public_host_is_reached_through_guarded_connections_and_a_named_one_is_not_guarded() -> None:
    plain, guarded = Script(200), Script(201)
    wire = wire_with(plain, public=guarded, hosts="any-public", options=VendorOptions(base_url="http://10.0.0.1/"))
    assert (await answer_of(wire, post(url="http://customer.example:8080/hook")))[0] == 201
    assert (await answer_of(wire, post(url="http://10.0.0.1/")))[0] == 200
    for url in ("http://10.0.0.2/", "http://127.1/", "https://[::1]/", "ftp://customer.example/"):
        with pytest.raises(HostNotDeclared):
            await answer_of(wire, post(url=url))
    assert (len(plain.bodies), len(guarded.bodies)) == (1, 1)


async def test_a_request_is_sent_again_until_it_is_accepted() -> None:
    transport = Script(503, httpx.ConnectError("no"), 200)
    assert (await answer_of(wire_with(transport), post(b"body"), tries=QUICK))[0] == 200
    assert transport.bodies == [b"body"] * 3


@pytest.mark.parametrize(
    ("answers", "sends"),
    [([500], 1), ([404], 1), ([502, 404], 2), ([503, 503, 503], 3), ([(503, {"retry-after": "31"})], 1)],
    ids=["a status that is not named", "a refusal", "then a refusal", "all of them", "a long wait"],
)
async def test_it_is_not_sent_more_often_than_was_said(answers: list[Answer], sends: int) -> None:
    transport = Script(*answers)
    with pytest.raises(UpstreamError):
        await answer_of(wire_with(transport), tries=QUICK)
    assert len(transport.bodies) == sends


async def test_once_is_the_default() -> None:
    transport = Script(503, 200)
    with pytest.raises(UpstreamBusy):
        await answer_of(wire_with(transport))
    assert len(transport.bodies) == 1


async def test_a_status_that_is_accepted_and_tried_again_comes_back_after_the_last_try() -> None:
    transport = Script(429, 429, 429)
    assert (await answer_of(wire_with(transport), tries=QUICK, accept={429}))[0] == 429
    assert len(transport.bodies) == 3


async def test_a_wait_that_does_not_fit_into_the_handler_s_time_is_not_begun() -> None:
    transport = Script((429, {"retry-after": "20"}), 200)
    with pytest.raises(UpstreamBusy) as raised:
        await answer_of(wire_with(transport, timeout_s=10), tries=QUICK)
    assert (len(transport.bodies), raised.value.retry_after_s) == (1, 20)


async def test_the_wait_of_a_403_is_kept_too() -> None:
    transport = Script((403, {"retry-after": "20"}), 200)
    with pytest.raises(UpstreamError):
        await answer_of(wire_with(transport, timeout_s=10), tries=Tries(3, on={403}))
    assert len(transport.bodies) == 1


async def test_a_body_that_cannot_be_read_again_is_sent_once() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"once"

    transport = Script(503, 200)
    with pytest.raises(UpstreamBusy):
        await answer_of(wire_with(transport), post(body()), tries=QUICK)
    assert transport.bodies == [b"once"]


async def test_a_number_of_tries_that_makes_no_sense_is_refused() -> None:
    for most in (0, 11):
        with pytest.raises(ValueError, match="from 1 to 10 times"):
            Tries(most)


def sent(most: int) -> Meter:
    """Charges for bytes that vendors accepted."""
    return Meter(PerUnit("sent", unit="bytes_sent", most=most), 7)


async def test_bytes_that_a_vendor_accepted_are_counted_once() -> None:
    async def body() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * 10

    meter = sent(100)
    wire = wire_with(Script(503, 200, 404, 201, 200, 200), meter=meter)
    await answer_of(wire, post(b"x" * 20), tries=QUICK)
    await answer_of(wire, post(b"x" * 20), accept={404})
    assert meter.units == {"bytes_sent": 20}
    await answer_of(wire, post(body()))
    assert (meter.units, meter.cost_nusd) == ({"bytes_sent": 50}, 350)
    await answer_of(wire, httpx.Request("GET", "https://vendor.example/"))
    await answer_of(wire, post(b"x" * 50))
    assert meter.units == {"bytes_sent": 100}


async def test_more_bytes_than_the_charge_s_most_are_not_sent() -> None:
    async def body() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * 40

    meter, transport = sent(100), Script(200, 200)
    wire = wire_with(transport, meter=meter)
    with pytest.raises(TooLarge, match="101 bytes_sent are more than the 100"):
        await answer_of(wire, post(b"x" * 101))
    with pytest.raises(TooLarge, match="120 bytes_sent"):
        await answer_of(wire, post(body()))
    assert (transport.bodies, meter.units, wire.on_its_way) == ([], {}, 0)


async def test_what_is_on_its_way_counts_for_the_most() -> None:
    arrived, go_on = asyncio.Event(), asyncio.Event()

    class Slow(Script):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            arrived.set()
            await go_on.wait()
            return await super().handle_async_request(request)

    wire = wire_with(Slow(200), meter=sent(100))
    first = asyncio.ensure_future(answer_of(wire, post(b"x" * 60)))
    await arrived.wait()
    with pytest.raises(TooLarge):
        await answer_of(wire, post(b"x" * 60))
    go_on.set()
    assert (await first)[0] == 200


async def test_nothing_is_sent_or_read_once_the_call_is_settled() -> None:
    wire = wire_with(Script(200, 200))
    async with wire.send(post()) as response:
        wire.close()
        with pytest.raises(TicketClosed):
            await response.aread()
    with pytest.raises(TicketClosed):
        await answer_of(wire)


async def test_an_answer_that_comes_after_the_end_is_not_handed_out() -> None:
    class EndsMeanwhile(Script):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            wire.close()
            return await super().handle_async_request(request)

    meter = sent(100)
    wire = wire_with(EndsMeanwhile(200), meter=meter)
    with pytest.raises(TicketClosed):
        await answer_of(wire)
    assert meter.units == {}
