"""Gateways with Stripe switched on, before a stand-in; and those who use them: a customer, an operator, Stripe itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import asyncpg

from tests.support.money import customer, virtual_key
from tests.support.process import Process

from .stand_in import KEY, SECRET, Json, Stripe

OLD_SECRET = "whsec_before_the_rotation"
CONFIG = """
gateway: {{jobs: {{workers: 6, lease_s: 2}}, database: {{general: 5, searches: 2, integration: 5}}, {gateway}}}
lanes:
  up: {{plugin: echo, models: {{echo: {{type: chat, price: {{input: 0, output: 1000000}}, max_output_tokens: 100}}}}}}
integrations:
  stripe:
    secret_key: {key}
    webhook_secret: {secret}
    previous_webhook_secret: {old}
    api_base: http://127.0.0.1:{port}
    grants: [credit, customers, mail]
    {more}
"""
USD = 10**9


def config_for(port: int, *, gateway: str = "", more: str = "") -> str:
    """A kaixu.yaml. A word of the lane `up` costs a dollar."""
    return CONFIG.format(key=KEY, secret=SECRET, old=OLD_SECRET, port=port, gateway=gateway, more=more)


def shop_process(home: Path, dsn: str, port: int, *, gateway: str = "", more: str = "") -> Process:
    """A gateway, not yet started."""
    process = Process(home, dsn, config_for(port, gateway=gateway, more=more), ADMIN_PASSWORD_HEADER="true")
    process.environment["GATEWAY_URL"] = process.url
    return process


class Said(NamedTuple):
    """A reply."""

    status: int
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Shop:
    """What a test does. `key` belongs to the customer, and has the role `owner`."""

    def __init__(self, http: aiohttp.ClientSession, process: Process, pool: asyncpg.Pool, stripe: Stripe) -> None:
        self.http = http
        self.process = process
        self.pool = pool
        self.stripe = stripe
        self.customer_id = 0
        self.key = ""
        self.sent = 0

    async def open(self, **fields: Any) -> Shop:
        """A customer of the test's own; without a cap, so that only credit can be spent."""
        self.customer_id = await customer(self.pool, **{"cap_nusd": 0, **fields})
        _, self.key = await virtual_key(self.pool, self.customer_id, role="owner")
        return self

    # Requests

    async def send(self, method: str, path: str, body: object = None, **headers: str) -> Said:
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        data = None if content is None else BytesIO(content)
        async with self.http.request(
            method, self.process.url + path, data=data, headers=headers, allow_redirects=False
        ) as reply:
            return Said(reply.status, await reply.text())

    async def call(self, method: str, path: str, body: object = None, *, key: str | None = None) -> Said:
        """A request of the customer."""
        return await self.send(method, path, body, authorization=f"Bearer {self.key if key is None else key}")

    async def operator(self, method: str, path: str, body: object = None) -> Said:
        """A request of the operator."""
        password = self.process.environment["ADMIN_PASSWORD"]
        return await self.send(method, path, body, **{"x-admin-password": password})

    async def deliver(self, event: Json, **how: Any) -> Said:
        """Stripe's delivery of an event."""
        body, headers = self.stripe.signed(event, **how)
        return await self.send("POST", "/api/stripe-webhook", body, **headers)

    async def deliver_all(self) -> None:
        """Everything that has happened at Stripe since the last time."""
        events, self.sent = self.stripe.events[self.sent :], len(self.stripe.events)
        for event in events:
            said = await self.deliver(event)
            assert said == (200, "ok"), said
        await self.settled()

    # What came of it

    async def checkout(self, cents: int = 2500, **more: Any) -> Json:
        """A checkout of the customer: its session at Stripe."""
        said = await self.call("POST", "/.netlify/functions/user-topup-checkout", {"amount_cents": cents, **more})
        assert said.status == 200, said
        assert said.json.keys() == {"ok", "url"}
        return self.stripe.session(said.json["url"].rpartition("/")[2])

    async def balance(self) -> Json:
        said = await self.call("GET", "/v1/stripe/balance")
        assert said.status == 200, said
        found: Json = said.json
        return found

    async def credit(self) -> int:
        """The customer's credit of this month, in cents."""
        return int((await self.balance())["credit_cents"])

    async def payments(self) -> list[Json]:
        found: list[Json] = (await self.call("GET", "/v1/stripe/payments")).json["payments"]
        return found

    async def topups(self) -> list[int]:
        """The bookings of the customer, in cents."""
        rows = await self.pool.fetch(
            "select amount_nusd from kaixu.topup where customer_id = $1 and source = 'stripe' order by id",
            self.customer_id,
        )
        return [row["amount_nusd"] // 10**7 for row in rows]

    async def set(self, **settings: object) -> None:
        """Change settings of the customer, as an operator does."""
        body = {"customer_id": self.customer_id, "integration": "stripe", "settings": settings}
        said = await self.operator("PATCH", "/api/admin-integration-settings", body)
        assert said.status == 200, said

    async def sweep(self) -> None:
        """Run the sweep now: as if everything had begun an hour ago, and nothing had been looked at since."""
        await self.pool.execute(
            "update kaixu_stripe.payment set looked_at = now() - interval '1 hour', "
            "created_at = now() - interval '1 hour 1 second'"
        )
        await self.run_schedule()

    async def run_schedule(self) -> None:
        """Run the schedule once, and all that it enqueues."""
        wanted = "select last_at from kaixu.schedule where name = 'stripe.sweep'"
        async with asyncio.timeout(30):
            while (before := await self.pool.fetchrow(wanted)) is None:
                await asyncio.sleep(0.05)
            await self.pool.execute("update kaixu.schedule set next_at = now() where name = 'stripe.sweep'")
            while await self.pool.fetchrow(wanted) == before:
                await asyncio.sleep(0.05)
        await self.settled()

    async def settled(self) -> None:
        """Return when no job is due any more; those that wait for another attempt have it now."""
        busy = """
            select (select count(*) from kaixu.reservation)
                 + (select count(*) from kaixu.job where completed_at is null)
        """
        async with asyncio.timeout(60):
            while await self.pool.fetchval(busy):
                await self.pool.execute(
                    "update kaixu.job set run_after = now() where status = 'queued' and run_after > now()"
                )
                await asyncio.sleep(0.05)

    async def notes(self, text: str) -> int:
        """How many notes for operators contain this."""

        async def count() -> int:
            found: int = await self.pool.fetchval(
                "select count(*) from kaixu.gateway_event where provider = 'stripe' and error_message like '%' || $1 || '%'",
                text,
            )
            return found

        return int(await until(count))


async def until(condition: Callable[[], Awaitable[Any]]) -> Any:
    """What the condition returns, once that is true."""
    async with asyncio.timeout(30):
        while not (found := await condition()):
            await asyncio.sleep(0.05)
    return found


async def away_from_midnight(s: float = 60) -> None:
    """Return now, or when the day (UTC) has begun that is nearer than this: bounds are for a day, credit is for a month."""
    now = datetime.now(UTC)
    left_s = (datetime.combine(now.date() + timedelta(days=1), datetime.min.time(), UTC) - now).total_seconds()
    if left_s < s:
        await asyncio.sleep(left_s + 1)


@asynccontextmanager
async def started(processes: Iterable[Process]) -> AsyncIterator[None]:
    """Gateways that run for the block."""
    all_of_them = list(processes)
    try:
        await asyncio.gather(*(one.start() for one in all_of_them))
        yield
    finally:
        for one in all_of_them:
            await one.stop()
