"""docs/plugin-authors/integrations.md: the examples of its chapters about money and customers run in one gateway."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
from aiohttp import web

from tests.support.money import customer, virtual_key
from tests.support.operators import admin_token
from tests.support.process import Process

from .pages import blocks, text_of

PAGE = text_of("docs/plugin-authors/integrations.md")
CHAPTERS = {
    "till": "Money in",
    "refill": "Reactions",
    "clerk": "Customers",
    "line": "Life of an integration",
    "cards": "Effects for customers",
}
SECRET = "secret-of-the-vendor"


def chapter(title: str) -> str:
    """One chapter of the page."""
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


class House:
    """The gateway with all four integrations, and a vendor of payments that takes what is charged."""

    def __init__(self, process: Process, http: aiohttp.ClientSession, pool: asyncpg.Pool) -> None:
        self.process = process
        self.http = http
        self.pool = pool
        self.charged: list[tuple[str, Any]] = []

    async def charge(self, request: web.Request) -> web.Response:
        """The vendor's side."""
        self.charged.append((request.headers["idempotency-key"], await request.json()))
        return web.json_response({"id": f"ch_{len(self.charged)}"})

    async def ask(self, path: str, body: dict[str, Any], **headers: str) -> tuple[int, dict[str, Any]]:
        async with self.http.post(self.process.url + path, json=body, headers=headers) as answer:
            return answer.status, await answer.json()

    async def until(self, sql: str, *args: Any) -> Any:
        """Wait until a query finds something."""
        async with asyncio.timeout(30):
            while not (found := await self.pool.fetchval(sql, *args)):
                await asyncio.sleep(0.05)
        return found


@pytest.fixture
async def house(tmp_path: Path, dsn: str, pool: asyncpg.Pool) -> AsyncIterator[House]:
    sections = ["integrations:"]
    for name, title in CHAPTERS.items():
        (code,), (config,) = blocks(chapter(title), "python"), blocks(chapter(title), "yaml")
        sections.append(config.removeprefix("integrations:\n"))
        file = tmp_path / ("till/__init__.py" if name == "till" else f"{name}.py")
        file.parent.mkdir(exist_ok=True)
        file.write_text(code)
    (tmp_path / "till" / "schema").mkdir()
    (tmp_path / "till" / "schema" / "0001_payment.sql").write_text(blocks(chapter("Money in"), "sql")[0])
    process = Process(tmp_path, dsn, "", TILL_WEBHOOK_SECRET=SECRET, CARDS_WEBHOOK_SECRET=SECRET)
    async with aiohttp.ClientSession() as http:
        house = House(process, http, pool)
        app = web.Application()
        app.router.add_post("/charges", house.charge)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        vendor = f"http://127.0.0.1:{runner.addresses[0][1]}"
        process.config.write_text("\n".join(sections).replace("https://payments.example.com", vendor))
        await process.start()
        try:
            yield house
        finally:
            await process.stop()
            await runner.cleanup()


async def test_what_the_chapters_about_money_and_customers_show_works(house: House) -> None:
    pool = house.pool
    customer_id = await customer(pool, cap_nusd=0)
    body = f'{{"id": "pay_1", "customer_id": {customer_id}, "amount_nusd": 5000000000}}'.encode()
    signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    events = f"{house.process.url}/v1/till/webhooks/events"
    for headers, status in (({}, 400), ({"x-signature": "é"}, 400), ({"x-signature": signature}, 200)):
        async with house.http.post(events, data=body, headers=headers) as answer:
            assert answer.status == status, await answer.text()
    credited = "select sum(amount_nusd)::bigint from kaixu.topup where customer_id = $1 and integration = $2"
    assert await house.until(credited, customer_id, "till") == 5 * 10**9

    # Reactions: the balance of five dollars is below a threshold of six as soon as that is set.
    await pool.fetch(
        "select * from kaixu.set_integration_settings($1, 'refill', $2, '{}', '{}')",
        customer_id,
        {"auto_topup_enabled": True, "auto_topup_threshold_cents": 600},
    )
    assert await house.until(credited, customer_id, "refill") == 20 * 10**9
    ((key, charge),) = house.charged
    assert charge == {"customer": customer_id, "amount_nusd": 20 * 10**9}
    assert len(key) == 36

    # Customers: one is invited and gets its setting from a job; then it is found by that.
    operator = {"authorization": f"Bearer {admin_token()}"}
    invitation = {"email": "b@example.com", "vendor_id": "cus_7"}
    status, invited = await house.ask("/v1/clerk/invite", invitation, **operator)
    assert (status, invited.get("email")) == (200, "b@example.com"), invited
    await house.until(
        "select true from kaixu.job where kind = 'clerk.welcome' and customer_id = $1 and completed_at is not null",
        invited["id"],
    )
    assert await house.ask("/v1/clerk/find", {"vendor_id": "cus_7"}, **operator) == (200, invited)
    assert (await house.ask("/v1/clerk/find", {"vendor_id": "cus_8"}, **operator))[0] == 404

    # Effects: a card is declined, and everything that follows from it is done for its customer, once.
    other = await customer(pool)
    plan = {"id": "plan_1", "account": "acct_1"}
    bearer = f"Bearer {(await virtual_key(pool, other, role='owner'))[1]}"
    assert await house.ask("/v1/cards/begin", plan, authorization=bearer) == (200, plan)
    for token, status in (("wrong", 400), (SECRET, 200), (SECRET, 200)):
        assert (await house.ask("/v1/cards/webhooks/events", plan, **{"x-token": token}))[0] == status
    settings = "select settings from kaixu.integration_setting where customer_id = $1 and not (settings->>'pays_automatically')::boolean"
    assert await house.until(settings, other) == {"account": "acct_1", "pays_automatically": False}
    assert await pool.fetchval("select state from kaixu.keyed_charge where customer_id = $1", other) == "released"
    async with house.http.get(
        f"{house.process.url}/api/user-integrations", headers={"authorization": bearer}
    ) as answer:
        (message,) = (await answer.json())["messages"]
    assert (message["subject"], message["is_mailed"]) == ("Your card was declined", False)
    (entry,) = await pool.fetch("select * from kaixu.audit_event where action = 'CARD_DECLINED'")
    assert (entry["target"], entry["actor"]) == (f"customer:{other}", "integration:cards")
    assert entry["meta"] == {"integration": "cards", "target": "acct_1"}

    # Life: what `open` made is used by calls; their note is in the monitor.
    key = (await virtual_key(pool, customer_id))[1]
    assert await house.ask("/v1/line/say", {"text": "hi"}, authorization=f"Bearer {key}") == (200, {"text": "hi"})
    extra = await house.until("select extra from kaixu.gateway_event where error_message = 'somebody spoke'")
    assert extra["account"] == "line-7"
    cost = "select vendor_cost_nusd from kaixu.usage_event where customer_id = $1 and operation = 'line.say'"
    assert await pool.fetchval(cost, customer_id) == 2_000_000
