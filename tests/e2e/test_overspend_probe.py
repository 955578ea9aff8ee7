"""The probe of the docs: 60 concurrent calls against a budget for 8. What is printed is what the docs show."""

from __future__ import annotations

import asyncio

import aiohttp
import asyncpg
import pytest

from tests.support.money import assert_books_balance, customer, spent_and_held, virtual_key
from tests.support.process import Client

from .conftest import Start

CALLS = 60
BUDGET_FOR = 8
#: One call: 14 tokens in at 1, 8 out at 2 USD a million.
COST_NUSD = 14_000 + 8 * 2_000
#: The same, lowered as far as it goes: one token out.
LEAST_NUSD = 14_000 + 2_000


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("processes", [1, 3], ids=["one-process", "three-processes"])
async def test_sixty_calls_at_once_never_pass_a_budget_for_eight(
    processes: int, streamed: bool, start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    gateways = await start(processes)
    cap = COST_NUSD * BUDGET_FOR
    customer_id = await customer(pool, cap_nusd=cap)
    _, key = await virtual_key(pool, customer_id)

    async def call(at: int) -> int:
        client = Client(http, gateways[at % processes].url, key)
        if streamed:
            status, _ = await client.stream("stream-8-0", max_tokens=8)
        else:
            status, _ = await client.chat("stream-8-0", max_tokens=8)
        return status

    # Holds are wider than costs, so what is left after one wave lets more in with the next: until none gets in.
    admitted = refused = 0
    for _ in range(BUDGET_FOR + 1):
        statuses = await asyncio.gather(*(call(at) for at in range(CALLS)))
        assert set(statuses) <= {200, 402}
        admitted += statuses.count(200)
        refused += statuses.count(402)
        spent, held = await spent_and_held(pool, customer_id)
        assert spent <= cap
        assert held == 0
        if statuses.count(200) == 0:
            break
    # Those let in last may have had their max_tokens lowered to what was left, and then cost less.
    assert admitted >= 1
    assert admitted * LEAST_NUSD <= spent <= admitted * COST_NUSD
    await assert_books_balance(pool)
    print(
        f"\n{processes} process(es), {'streamed' if streamed else 'plain'}: {admitted} admitted, {refused} refused, {spent / cap:.2f} of the budget"
    )


async def test_three_gateways_never_pass_a_cap_that_pays_for_some(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    gateways = await start(3)
    cap = COST_NUSD * 40 + 777
    customer_id = await customer(pool, cap_nusd=cap)
    keys = [(await virtual_key(pool, customer_id, monthly_cap_nusd=cap // 2))[1] for _ in range(3)]

    async def call(at: int) -> int:
        client = Client(http, gateways[at % 3].url, keys[at // 3 % 3])
        status, _ = await (client.stream if at % 2 else client.chat)("stream-8-0", max_tokens=8)
        return status

    statuses = await asyncio.gather(*(call(at) for at in range(300)))
    assert set(statuses) <= {200, 402}
    assert statuses.count(200) > 0
    spent, held = await spent_and_held(pool, customer_id)
    assert held == 0
    assert spent <= statuses.count(200) * COST_NUSD  # a lowered call costs less
    assert spent <= cap
    await assert_books_balance(pool)
