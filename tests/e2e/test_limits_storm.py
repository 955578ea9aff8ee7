"""Limits of tokens, days, models and groups under concurrency, over three processes: exact, as caps are."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import asyncpg

from tests.support.money import assert_books_balance, customer, virtual_key
from tests.support.process import Client, Process

from .conftest import Start
from .test_crashes import books_close

#: How many calls come at once, and how many a limit has room for.
CALLS = 60
ROOM = 8

#: The names that the gateway gives a model of the stand-in, see tests/support/process.py.
MODEL = "up/hang"


async def in_flight(pool: asyncpg.Pool, key_id: int) -> list[Any]:
    """The holds of a key's calls."""
    return await pool.fetch("select held_nusd, most_tokens from kaixu.reservation where key_id = $1", key_id)


async def hold_of_a_call(pool: asyncpg.Pool, http: aiohttp.ClientSession, gateway: Process) -> tuple[int, int]:
    """What one call of the storm holds: money and tokens."""
    key_id, key = await virtual_key(pool, await customer(pool))
    call = asyncio.ensure_future(Client(http, gateway.url, key).chat("hang", max_tokens=40))
    while not (holds := await in_flight(pool, key_id)):
        await asyncio.sleep(0.02)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    return holds[0]["held_nusd"], holds[0]["most_tokens"]


async def refusals_of_a_storm(
    pool: asyncpg.Pool, http: aiohttp.ClientSession, gateways: list[Process], keys: list[tuple[int, str]]
) -> list[tuple[int, str, str]]:
    """Send all calls at once, until all but `ROOM` are refused; those in flight then leave. How they were refused."""
    clients = [Client(http, gateways[at % 3].url, keys[at % len(keys)][1]) for at in range(CALLS)]
    calls = [asyncio.ensure_future(client.chat("hang", max_tokens=40)) for client in clients]
    done: set[asyncio.Task[tuple[int, dict[str, Any]]]] = set()
    waiting = set(calls)
    async with asyncio.timeout(15):
        while len(done) < CALLS - ROOM:
            ended, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            done |= ended
        while sum([len(await in_flight(pool, key_id)) for key_id, _ in keys]) < len(waiting):
            await asyncio.sleep(0.02)
    held = [hold for key_id, _ in keys for hold in await in_flight(pool, key_id)]
    assert len(held) == ROOM
    for call in waiting:
        call.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    return [(status, str(body.get("code")), str(body.get("scope"))) for status, body in (one.result() for one in done)]


async def test_sixty_calls_at_once_on_each_limit_let_exactly_those_in_that_it_has_room_for(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    gateways = await start(3, gateway="max_in_flight_per_key: 100")
    nusd, tokens = await hold_of_a_call(pool, http, gateways[0])
    # The ninth call would not be let in with less: its tokens are not lowered below what it asks for.
    room = {"tpm": ROOM * tokens + tokens - 1, "day": ROOM * nusd, "rpm": ROOM}
    for_customers = {"tokens": {"tpm_limit": room["tpm"]}, "day": {"day_cap_nusd": room["day"]}}
    for_keys: dict[str, dict[str, Any]] = {
        "key_tokens": {"tpm_limit": room["tpm"]},
        "key_day": {"day_cap_nusd": room["day"]},
        "model_minute": {"limits": {MODEL: {"rpm": room["rpm"]}}},
        "model_tokens": {"limits": {MODEL: {"tpm": room["tpm"]}}},
        "model_day": {"limits": {MODEL: {"day_cap_nusd": room["day"]}}},
    }
    for_groups = {
        "group": {"monthly_cap_nusd": room["day"]},
        "group_minute": {"rpm_limit": room["rpm"]},
        "group_tokens": {"tpm_limit": room["tpm"]},
        "group_day": {"day_cap_nusd": room["day"]},
    }
    for scope in (*for_customers, *for_keys, *for_groups):
        customer_id = await customer(pool, **for_customers.get(scope, {}))
        fields = for_keys.get(scope, {})
        if scope in for_groups:
            limits = for_groups[scope]
            fields = {
                "group_id": await pool.fetchval(
                    f"""
                    insert into kaixu.key_group (customer_id, name, {", ".join(limits)})
                    values ($1, $2, {", ".join(f"${at}" for at in range(3, 3 + len(limits)))})
                    returning id
                    """,
                    customer_id,
                    scope,
                    *limits.values(),
                )
            }
        count = 1 if scope in for_keys else 3  # several keys, where their calls count together
        keys = [await virtual_key(pool, customer_id, **fields) for _ in range(count)]
        code = (402, "CAP_REACHED") if scope.endswith(("day", "group")) else (429, "RATE_LIMITED")
        assert await refusals_of_a_storm(pool, http, gateways, keys) == [(*code, scope)] * (CALLS - ROOM)
    await books_close(pool)


async def test_a_gateway_killed_between_hold_and_settlement_leaves_nothing_in_the_limits(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    first, second = await start(2, gateway="reservation_s: 3")
    nusd, tokens = await hold_of_a_call(pool, http, first)
    customer_id = await customer(pool, tpm_limit=2 * tokens, day_cap_nusd=2 * nusd)
    key_id, key = await virtual_key(pool, customer_id)
    calls = [asyncio.ensure_future(Client(http, first.url, key).chat("hang", max_tokens=40)) for _ in range(2)]
    while len(await in_flight(pool, key_id)) < 2:
        await asyncio.sleep(0.02)
    status, body = await Client(http, second.url, key).chat("hang", max_tokens=40)
    assert (status, body["scope"]) == (429, "tokens")
    first.kill()
    await asyncio.gather(*calls, return_exceptions=True)
    await books_close(pool)
    assert (await Client(http, second.url, key).chat("ok", max_tokens=40))[0] == 200
    spent = await pool.fetchval("select sum(cost_nusd) from kaixu.usage_event where customer_id = $1", customer_id)
    assert (
        await pool.fetchval("select day_spent_nusd from kaixu.limit_use where customer_id = $1", customer_id) == spent
    )
    await assert_books_balance(pool)
