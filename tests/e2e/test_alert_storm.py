"""Three gateways on one database, calls that cross thresholds at the same time, and receivers in every condition."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import asyncpg
import msgspec
import pytest
from aiohttp import web

from tests.support.money import customer, virtual_key
from tests.support.process import SECRETS, Client, Process, config_for
from tests.support.size import size
from tests.support.smtp import Mailbox, smtp_server
from tests.support.vendor import Vendor

from .conftest import MODELS

#: What a call with `max_tokens=4` costs.
CALL_NUSD = 22_000

#: The types that can be told of a cap before it recovers.
BEFORE = {"CAP_WARN_CUSTOMER", "CAP_WARN_KEY", "CAP_REACHED_CUSTOMER", "CAP_REACHED_KEY", "CALLS_REFUSED_CUSTOMER"}


class Receivers:
    """Three webhooks: `good`; `flaky` answers 500 at first; `slow` does not answer its first request."""

    def __init__(self) -> None:
        self.url = ""
        self.arrived: dict[str, list[tuple[str, bytes]]] = {"good": [], "flaky": [], "slow": []}
        self.refuse = 3
        self.hang = 1

    async def receive(self, request: web.Request) -> web.Response:
        name, body = request.path.strip("/"), await request.read()
        if name == "flaky" and self.refuse:
            self.refuse -= 1
            return web.Response(status=500)
        if name == "slow" and self.hang:
            self.hang -= 1
            await asyncio.sleep(60)
        self.arrived[name].append((request.headers["webhook-id"], body))
        return web.Response()

    def types(self, name: str) -> Counter[tuple[str, int | None]]:
        """How often each type, and threshold, has arrived."""
        alerts = [msgspec.json.decode(body) for _, body in self.arrived[name]]
        return Counter((alert["type"], alert.get("threshold_pct")) for alert in alerts)


@pytest.fixture
async def receivers() -> AsyncIterator[Receivers]:
    receivers = Receivers()
    app = web.Application()
    app.router.add_post("/{name}", receivers.receive)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receivers.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield receivers
    await runner.cleanup()


@pytest.fixture
async def mailbox() -> AsyncIterator[Mailbox]:
    async with smtp_server() as mailbox:
        yield mailbox


@pytest.fixture
async def gateways(
    tmp_path: Path, dsn: str, vendor: Vendor, receivers: Receivers, mailbox: Mailbox
) -> AsyncIterator[list[Process]]:
    """Three gateways with the same configuration."""
    config = (
        config_for(vendor.url, *MODELS)
        + f"""
alerts:
  webhooks:
    flaky: {{url: "{receivers.url}/flaky"}}
    slow: {{url: "{receivers.url}/slow", secret: a-secret-of-its-own}}
  mail: [ops@example.com]
  customers: true
mail: {{host: 127.0.0.1, port: {mailbox.port}, tls: none, from: gateway@example.com}}
"""
    )
    environment = {"ALERT_WEBHOOK_URL": f"{receivers.url}/good"}
    made = [Process(tmp_path / f"gateway{at}", dsn, config, **environment) for at in range(3)]
    await asyncio.gather(*(one.start() for one in made))
    yield made
    for one in made:
        await one.stop()


async def quiet(pool: asyncpg.Pool, alerts: set[str]) -> None:
    """Wait until these alerts are there, and everything is checked, dispatched and delivered."""
    async with asyncio.timeout(60):
        while True:
            # One statement: what is raised between two would be there, but neither dispatched nor delivered.
            there, busy = await pool.fetchval(
                """
                select row ((select count(distinct type) from kaixu.alert where type = any ($1)),
                       (select count(*) from kaixu.usage_change) + (select count(*) from kaixu.cap_check)
                     + (select count(*) from kaixu.alert where dispatched_at is null)
                     + (select count(*) from kaixu.webhook_delivery where delivered_at is null)
                     + (select count(*) from kaixu.mail where state <> 'sent'))
                """,
                alerts,
            )
            if not busy and there == len(alerts):
                return
            await asyncio.sleep(0.2)


async def test_crossings_by_calls_at_once_are_told_once_to_everybody(
    gateways: list[Process], pool: asyncpg.Pool, http: aiohttp.ClientSession, receivers: Receivers, mailbox: Mailbox
) -> None:
    calls = size(60, 300)
    cap_nusd = calls * CALL_NUSD * 3 // 4
    customer_id = await customer(pool, cap_nusd=cap_nusd)
    _, key = await virtual_key(pool, customer_id, monthly_cap_nusd=2 * cap_nusd, alert_thresholds=[20, 40])
    # A quarter of the calls finds the cap used up.
    replies = await asyncio.gather(*(Client(http, gateways[at % 3].url, key).chat(max_tokens=4) for at in range(calls)))
    statuses = Counter(status for status, _ in replies)
    assert statuses.keys() == {200, 402}
    while (await Client(http, gateways[0].url, key).chat(max_tokens=4))[0] == 200:
        pass  # holds of calls in flight have refused some that had room
    await quiet(pool, {"CAP_WARN_CUSTOMER", "CAP_WARN_KEY", "CALLS_REFUSED_CUSTOMER"})

    raised = Counter(
        (row["type"], row["pct"])
        for row in await pool.fetch("select type, (body->>'threshold_pct')::integer as pct from kaixu.alert")
    )
    assert set(raised.values()) == {1}
    assert {alert_type for alert_type, _ in raised} <= BEFORE
    assert ("CALLS_REFUSED_CUSTOMER", None) in raised
    assert raised.keys() & {("CAP_WARN_CUSTOMER", 85), ("CAP_REACHED_CUSTOMER", 100)}
    for name in receivers.arrived:
        assert receivers.types(name) == raised, name
        assert len({message_id for message_id, _ in receivers.arrived[name]}) == len(raised)
    assert Counter(mailbox.recipients) == {"ops@example.com": len(raised), "customer0@example.com": len(raised)}

    receivers.arrived = {name: [] for name in receivers.arrived}
    async with http.post(
        f"{gateways[1].url}/api/admin-login", json={"password": SECRETS["ADMIN_PASSWORD"]}
    ) as response:
        token = (await response.json())["token"]
    headers = {"authorization": f"Bearer {token}"}
    topup = {"customer_id": customer_id, "amount_cents": 100, "idempotency_key": "one"}
    for gateway in gateways:
        async with http.post(f"{gateway.url}/api/admin-topup", json=topup, headers=headers) as response:
            assert response.status == 200
    await quiet(pool, {"TOPPED_UP", "CAP_RECOVERED_CUSTOMER"})
    for name in receivers.arrived:
        assert receivers.types(name) == {("TOPPED_UP", None): 1, ("CAP_RECOVERED_CUSTOMER", None): 1}, name
    assert (await Client(http, gateways[2].url, key).chat(max_tokens=4))[0] == 200

    async with http.get(f"{gateways[0].url}/api/admin-alerts?customer_id={customer_id}", headers=headers) as response:
        listed = (await response.json())["alerts"]
    assert len(listed) == len(raised) + 2
    assert {one["state"] for alert in listed for one in (*alert["webhooks"], *alert["mails"])} == {"sent"}


async def test_a_vendor_that_fails_is_told_once_by_three_gateways(
    gateways: list[Process], pool: asyncpg.Pool, http: aiohttp.ClientSession, receivers: Receivers
) -> None:
    receivers.refuse = receivers.hang = 0
    _, key = await virtual_key(pool, await customer(pool))
    await asyncio.gather(
        *(Client(http, gateways[at % 3].url, key).chat("status-500", max_tokens=4) for at in range(12))
    )
    await quiet(pool, {"VENDOR_DOWN"})
    assert receivers.types("good") == {("VENDOR_DOWN", None): 1}
    assert await pool.fetchval("select is_down from kaixu.vendor_state where upstream = 'status-500'")
