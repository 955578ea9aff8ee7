"""Alerts: from the month as it is after a call, once a month, signed."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json

import aiohttp
import asyncpg
from aiohttp import web

from kaixu.jobs.webhook_signing import alert_key
from tests.support.money import customer, virtual_key
from tests.support.process import SECRETS, Client

from .conftest import Start


class Receiver:
    """An operator's webhook."""

    def __init__(self) -> None:
        self.requests: list[tuple[dict[str, object], bool]] = []
        self.hangs = False

    async def receive(self, request: web.Request) -> web.Response:
        """Record the body, and whether its signature is right."""
        body = await request.read()
        signature = hmac.new(alert_key(SECRETS["JWT_SECRET"]).encode(), body, hashlib.sha256).hexdigest()
        self.requests.append((json.loads(body), request.headers["x-kaixu-signature"] == f"sha256={signature}"))
        if self.hangs:
            await asyncio.sleep(60)
        return web.Response()

    async def first(self, count: int) -> list[tuple[dict[str, object], bool]]:
        """The first `count` requests, once they have arrived."""
        async with asyncio.timeout(20):
            while len(self.requests) < count:
                await asyncio.sleep(0.05)
        return self.requests


async def test_the_call_that_passes_a_mark_raises_its_alert_once_over_all_replicas(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/", receiver.receive)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        gateways = await start(2, ALERT_WEBHOOK_URL=f"http://127.0.0.1:{runner.addresses[0][1]}/", CAP_WARN_PCT="20")
        # A call costs 22,000; the second passes a fifth of the cap, the hold of a third no longer fits.
        _, key = await virtual_key(pool, await customer(pool, cap_nusd=200_000))
        statuses = [(await Client(http, gateways[at % 2].url, key).chat(max_tokens=4))[0] for at in range(4)]
        assert statuses == [200] * 4
        for _ in range(100):
            if receiver.requests:
                break
            await asyncio.sleep(0.05)
        ((alert, signed),) = receiver.requests
        assert signed
        assert (alert["type"], alert["threshold_pct"]) == ("CAP_WARN_CUSTOMER", 20)
        assert alert["pct"] in (22, 33, 44)  # as the month is when the alert is raised
    finally:
        await runner.cleanup()


async def test_an_alert_whose_gateway_is_killed_while_it_delivers_is_delivered_by_the_next_one(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    receiver = Receiver()
    receiver.hangs = True
    app = web.Application()
    app.router.add_post("/", receiver.receive)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    environment = {"ALERT_WEBHOOK_URL": f"http://127.0.0.1:{runner.addresses[0][1]}/", "CAP_WARN_PCT": "20"}
    try:
        [gateway] = await start(**environment)
        _, key = await virtual_key(pool, await customer(pool, cap_nusd=50_000))
        assert (await Client(http, gateway.url, key).chat(max_tokens=4))[0] == 200
        await receiver.first(1)
        gateway.kill()
        receiver.hangs = False
        await pool.execute(
            "update kaixu.webhook_delivery set next_attempt_at = now()"
        )  # the lease of the attempt is over
        await start(**environment)
        first, second = await receiver.first(2)
        assert first == second
        assert (second[0]["type"], second[1]) == ("CAP_WARN_CUSTOMER", True)
        async with asyncio.timeout(10):
            while await pool.fetchval("select count(*) from kaixu.webhook_delivery where delivered_at is null"):
                await asyncio.sleep(0.05)
        assert len(receiver.requests) == 2
    finally:
        await runner.cleanup()


async def test_an_alert_whose_gateway_is_killed_before_it_is_raised_is_raised_by_the_next_one(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    environment = {"ALERT_WEBHOOK_URL": "http://127.0.0.1:9/", "CAP_WARN_PCT": "20"}
    [gateway] = await start(**environment)
    _, key = await virtual_key(pool, await customer(pool, cap_nusd=100_000))
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("lock table kaixu.alert in share row exclusive mode")
        assert (await Client(http, gateway.url, key).chat(max_tokens=4))[0] == 200
        gateway.kill()
    await start(**environment)
    async with asyncio.timeout(60):
        while not await pool.fetchval("select count(*) from kaixu.webhook_delivery"):
            await asyncio.sleep(0.1)
    rows = await pool.fetch("select type, body->>'threshold_pct' as threshold from kaixu.alert")
    assert [tuple(row) for row in rows] == [("CAP_WARN_CUSTOMER", "20")]


async def test_an_alert_that_the_last_call_raises_is_queued_before_the_gateway_ends(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    [gateway] = await start(ALERT_WEBHOOK_URL="http://127.0.0.1:9/", CAP_WARN_PCT="20")
    _, key = await virtual_key(pool, await customer(pool, cap_nusd=50_000))
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("lock table kaixu.cap_alert in share row exclusive mode")
        assert (await Client(http, gateway.url, key).chat(max_tokens=4))[0] == 200
        stopping = asyncio.ensure_future(gateway.stop())
        async with asyncio.timeout(20):
            while await answers(http, gateway.url):
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)
    assert await stopping == 0
    assert await pool.fetchval("select event from kaixu.webhook_delivery") == "CAP_WARN_CUSTOMER"


async def answers(http: aiohttp.ClientSession, url: str) -> bool:
    """Whether a gateway still listens."""
    try:
        async with http.get(f"{url}/api/health"):
            return True
    except aiohttp.ClientError:
        return False
