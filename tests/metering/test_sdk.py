"""Vendors' own libraries over the wire of an integration: Stripe's, with a stand-in of Stripe's API on a real socket."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
import stripe
from aiohttp import web

from kaixu.metering.charges import Meter
from kaixu.metering.connections import open_transport
from kaixu.metering.integration_wire import IntegrationWire
from kaixu.metering.operation_call import OperationCall, handler_limits, limits_for
from kaixu.plugin import BlockingWire, Call, Options, PerUnit, TicketClosed, UpstreamError, UpstreamTimeout, WireUrl
from kaixu.plugin.access import Caller
from kaixu.plugin.origins import Hosts
from tests.support.blobs import no_blobs


class StripeOptions(Options):
    api_base: WireUrl = "https://api.stripe.com"


class WireClient(stripe.HTTPClient):
    """Stripe's library over a blocking wire: it gets every status, and decides itself about retries."""

    name = "wire"

    def __init__(self, wire: BlockingWire) -> None:
        super().__init__()
        self.wire = wire

    def request(
        self, method: str, url: str, headers: Mapping[str, str] | None, post_data: Any = None, **_: Any
    ) -> tuple[str, int, Mapping[str, str]]:
        content = post_data.encode() if isinstance(post_data, str) else post_data
        outgoing = httpx.Request(method.upper(), url, headers=dict(headers or {}), content=content)
        try:
            answer = self.wire.send(outgoing, accept=range(300, 600))
        except UpstreamError as error:
            raise stripe.APIConnectionError(error.message, should_retry=True) from error  # type: ignore[no-untyped-call]
        return answer.text, answer.status_code, answer.headers

    def close(self) -> None:
        """The wire is closed with its call."""


class Stripe:
    """A small part of Stripe's API. `failing`: how many answers are 500 first."""

    def __init__(self) -> None:
        self.url = ""
        self.failing = 0
        self.requests: list[tuple[str, str, str | None]] = []
        self.arrived = asyncio.Event()
        self.hanging = False

    async def answer(self, request: web.Request) -> web.Response:
        form = await request.post()
        self.requests.append((request.method, request.path, request.headers.get("idempotency-key")))
        self.arrived.set()
        if self.hanging:
            await asyncio.sleep(3600)
        if self.failing:
            self.failing -= 1
            return web.json_response({"error": {"type": "api_error", "message": "later"}}, status=500)
        if request.path.endswith("cus_none"):
            error = {"type": "invalid_request_error", "code": "resource_missing", "message": "No such customer"}
            return web.json_response({"error": error}, status=404)
        assert request.headers["authorization"] == "Bearer sk_test_x"
        return web.json_response({"id": "cus_1", "object": "customer", "email": form.get("email", "none")})


@pytest.fixture
async def vendor() -> AsyncIterator[Stripe]:
    vendor = Stripe()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", vendor.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    vendor.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield vendor
    await runner.cleanup()


@pytest.fixture
async def call(vendor: Stripe, tmp_path: Path) -> AsyncIterator[OperationCall]:
    """A call of an integration whose options name the stand-in; it is charged for bytes."""
    transport = open_transport()
    options = StripeOptions(api_base=vendor.url)
    meter = Meter(PerUnit("sent", unit="bytes_sent", most=10_000), 1)
    wire = IntegrationWire(transport, cast(Any, None), limits_for(60), "request", hosts=Hosts([], options), meter=meter)
    yield OperationCall(
        body=None, options=options, customer_id=1, key_id=1, request_id="request", caller=Caller("key"), wire=wire,
        meter=meter, open_transaction=cast(Any, None), customer_data=cast(Any, None), scratch=tmp_path, blobs=no_blobs(wire),
    )  # fmt: skip
    wire.close()
    await transport.aclose()


def stripe_client(call: Call[None] | OperationCall, retries: int = 0) -> stripe.StripeClient:
    """Stripe's client for one call."""
    return stripe.StripeClient(
        "sk_test_x",
        base_addresses={"api": call.options.api_base},
        http_client=WireClient(call.wire.blocking()),
        max_network_retries=retries,
    )


async def test_stripe_s_library_works_in_a_thread_of_the_call(call: OperationCall, vendor: Stripe) -> None:
    def work() -> tuple[str, str | None]:
        client = stripe_client(call)
        made = client.v1.customers.create({"email": "a@example.com"})
        with pytest.raises(stripe.InvalidRequestError) as raised:
            client.v1.customers.retrieve("cus_none")
        return str(made.email), raised.value.code

    async with handler_limits(call, "pay.now", 60):
        assert await call.in_thread(work) == ("a@example.com", "resource_missing")
    assert [one[:2] for one in vendor.requests] == [("POST", "/v1/customers"), ("GET", "/v1/customers/cus_none")]
    assert call.wire.meter.units == {"bytes_sent": len("email=a%40example.com")}


async def test_its_own_retries_send_one_idempotency_key(
    call: OperationCall, vendor: Stripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stripe.HTTPClient, "INITIAL_DELAY", 0.001)
    monkeypatch.setattr(stripe.HTTPClient, "MAX_DELAY", 0.001)
    vendor.failing = 2

    def work() -> str:
        return stripe_client(call, retries=2).v1.customers.create({"email": "a@example.com"}).id

    async with handler_limits(call, "pay.now", 60):
        assert await call.in_thread(work) == "cus_1"
    assert len(vendor.requests) == 3
    assert len({key for _, _, key in vendor.requests}) == 1
    assert call.wire.used


async def test_a_library_that_would_go_elsewhere_is_stopped(call: OperationCall, vendor: Stripe) -> None:
    def work() -> None:
        client = stripe.StripeClient("sk_test_x", http_client=WireClient(call.wire.blocking()))
        with pytest.raises(stripe.APIConnectionError, match=r"may not send to https://api\.stripe\.com"):
            client.v1.customers.retrieve("cus_1")

    async with handler_limits(call, "pay.now", 60):
        await call.in_thread(work)
    assert (vendor.requests, call.wire.used) == ([], False)


async def test_a_call_whose_time_is_over_waits_for_its_thread_and_leaves_it_no_wire(
    call: OperationCall, vendor: Stripe
) -> None:
    vendor.hanging = True
    go_on, saw = threading.Event(), list[object]()

    def work() -> None:
        for _ in range(2):
            try:
                stripe_client(call).v1.customers.retrieve("cus_1")
            except Exception as error:
                saw.append(type(error))
        go_on.wait()
        saw.append("ended")

    async def handle() -> None:
        async with handler_limits(call, "pay.now", 0.2):
            await call.in_thread(work)

    handling = asyncio.ensure_future(handle())
    await vendor.arrived.wait()
    await asyncio.wait([handling], timeout=0.5)
    assert not handling.done()
    go_on.set()
    with pytest.raises(UpstreamTimeout, match=r"longer than 0\.2 s"):
        await handling
    assert saw == [TicketClosed, TicketClosed, "ended"]
    assert len(vendor.requests) == 1
    assert not call.is_open()
