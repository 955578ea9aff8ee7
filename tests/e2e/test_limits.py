"""Seats, minutes and days under concurrency, over three processes: exact."""

from __future__ import annotations

import asyncio

import aiohttp
import asyncpg

from tests.support.money import assert_books_balance, customer, virtual_key
from tests.support.process import Client

from .conftest import Start


async def statuses_of(calls: list[asyncio.Task[tuple[int, dict[str, object]]]]) -> list[int]:
    """What the calls were answered."""
    return [status for status, _ in await asyncio.gather(*calls)]


async def test_sixty_new_devices_at_once_take_exactly_the_seats_there_are(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    gateways = await start(3)
    _, key = await virtual_key(pool, await customer(pool), max_devices=5)

    async def call(at: int) -> tuple[int, dict[str, object]]:
        client = Client(http, gateways[at % 3].url, key, **{"x-kaixu-install-id": f"device-{at}"})
        return await client.chat()

    statuses = await statuses_of([asyncio.ensure_future(call(at)) for at in range(60)])
    assert (statuses.count(200), statuses.count(403)) == (5, 55)
    assert await pool.fetchval("select count(*) from kaixu.device") == 5
    await assert_books_balance(pool)


async def test_a_minute_lets_exactly_its_limit_through(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    gateways = await start(3)
    _, key = await virtual_key(pool, await customer(pool), rpm_limit=25)

    async def call(at: int) -> tuple[int, dict[str, object]]:
        return await Client(http, gateways[at % 3].url, key).chat()

    statuses = await statuses_of([asyncio.ensure_future(call(at)) for at in range(90)])
    assert (statuses.count(200), statuses.count(429)) == (25, 65)


async def test_a_day_lets_exactly_its_limit_through_and_says_when_to_come_back(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    (gateway,) = await start(1)
    _, key = await virtual_key(pool, await customer(pool), rpd_limit=7)
    client = Client(http, gateway.url, key)
    statuses = await statuses_of([asyncio.ensure_future(client.chat()) for _ in range(30)])
    assert (statuses.count(200), statuses.count(429)) == (7, 23)
    body = {"provider": "up", "model": "ok", "messages": [{"role": "user", "content": "hello"}]}
    async with http.post(f"{gateway.url}/api/gateway-chat", json=body, headers=client.headers) as response:
        said = await response.json()
        assert response.status == 429
        assert 0 < int(response.headers["retry-after"]) <= 24 * 3600 + 600
        assert response.headers["x-ratelimit-remaining-requests"] == "0"
        assert said["code"] == "RATE_LIMITED"
        assert said["ratelimit"]["remaining"] == 0
        assert said["scope"] == "day"


async def test_a_refused_call_uses_up_nothing(start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession) -> None:
    (gateway,) = await start(1)
    customer_id = await customer(pool, cap_nusd=1)
    _, key = await virtual_key(pool, customer_id, rpm_limit=2, max_devices=1)
    client = Client(http, gateway.url, key, **{"x-install-id": "one"})
    for _ in range(5):
        status, body = await client.chat()
        assert (status, body["code"], body["scope"]) == (402, "CAP_REACHED", "customer")
        assert {
            "month", "cap_cents", "spent_cents", "customer_cap_cents", "customer_spent_cents", "key_cap_cents", "key_spent_cents",
        } <= set(body["month"])  # fmt: skip
    assert await pool.fetchval("select count(*) from kaixu.device") == 0
    assert await pool.fetchval("select count(*) from kaixu.rate_window") == 0
    await pool.execute("update kaixu.customer set monthly_cap_nusd = 1000000000")
    assert [(await client.chat())[0] for _ in range(3)] == [200, 200, 429]


async def test_what_an_operator_takes_away_is_gone_from_the_very_next_call_on_every_replica(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    gateways = await start(3)
    customer_id = await customer(pool)
    key_id, key = await virtual_key(pool, customer_id)

    async def everywhere() -> list[tuple[int, object]]:
        answers = [
            await Client(http, gateway.url, key, **{"x-kaixu-install-id": "laptop"}).chat() for gateway in gateways
        ]
        return [(status, body.get("code")) for status, body in answers]

    assert await everywhere() == [(200, None)] * 3
    await pool.execute("update kaixu.virtual_key set revoked_at = now() where id = $1", key_id)
    assert await everywhere() == [(401, "UNAUTHENTICATED")] * 3
    await pool.execute("update kaixu.virtual_key set revoked_at = null where id = $1", key_id)
    await pool.execute("update kaixu.device set revoked_at = now()")
    assert await everywhere() == [(403, "DEVICE_REVOKED")] * 3
    await pool.execute("update kaixu.device set revoked_at = null")
    await pool.execute("update kaixu.customer set is_active = false")
    assert await everywhere() == [(403, "CUSTOMER_DISABLED")] * 3
    await pool.execute('update kaixu.customer set is_active = true, allowed_models = \'{"up": ["other"]}\'')
    assert await everywhere() == [(403, "MODEL_NOT_ALLOWED")] * 3
    await pool.execute("update kaixu.customer set allowed_models = null, allowed_providers = '{elsewhere}'")
    await pool.execute("update kaixu.virtual_key set allowed_providers = '{*}'")  # a key only ever narrows
    assert await everywhere() == [(403, "PROVIDER_NOT_ALLOWED")] * 3
    await pool.execute("update kaixu.customer set allowed_providers = null")
    assert await everywhere() == [(200, None)] * 3


async def test_a_deleted_model_is_refused_after_a_reload_and_a_broken_file_changes_nothing(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    (gateway,) = await start(1)
    _, key = await virtual_key(pool, await customer(pool))
    client = Client(http, gateway.url, key)
    assert (await client.chat("silent"))[0] == 200
    text = gateway.config.read_text()
    gateway.config.write_text("lanes: [")
    assert (await gateway.command("reload")).returncode == 1
    assert (await client.chat("silent"))[0] == 200
    assert "not reloaded" in gateway.log.read_text()
    gateway.config.write_text("\n".join(line for line in text.splitlines() if " silent:" not in line))
    assert (await gateway.command("reload")).returncode == 0
    status, body = await client.chat("silent")
    assert (status, body["code"]) == (400, "UNKNOWN_MODEL")
    assert (await client.chat("ok"))[0] == 200
