"""Redemption codes over HTTP: fifty at once on three gateways, and exactly one credit."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import aiohttp
import asyncpg

from tests.support.money import customer, virtual_key
from tests.support.process import SECRETS, Process

from .conftest import Start


async def operator(http: aiohttp.ClientSession, process: Process) -> dict[str, str]:
    """The header of an operator who has logged in."""
    password = {"password": SECRETS["ADMIN_PASSWORD"]}
    async with http.post(f"{process.url}/api/admin-login", json=password) as response:
        return {"authorization": f"Bearer {(await response.json())['token']}"}


async def codes(http: aiohttp.ClientSession, process: Process, **fields: Any) -> list[str]:
    """Codes for 5 USD."""
    body = {"amount_cents": 500, "expires_at": f"{datetime.now(UTC).year + 1}-12-31"} | fields
    headers = await operator(http, process)
    async with http.post(f"{process.url}/api/admin-codes", json=body, headers=headers) as response:
        reply = await response.json()
        assert response.status == 200, reply
        found: list[str] = reply["codes"]
        return found


async def redeemed(http: aiohttp.ClientSession, process: Process, key: str, code: str) -> tuple[int, Any]:
    """The status, and whether it was applied, or the error's code."""
    headers = {"authorization": f"Bearer {key}"}
    async with http.post(f"{process.url}/api/user-redeem", json={"code": code}, headers=headers) as response:
        reply = await response.json()
        return response.status, reply["applied"] if response.status == 200 else reply["code"]


async def test_fifty_at_once_on_three_gateways_credit_one_code_once(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    processes = await start(3)
    keys = []
    for _ in range(5):
        customer_id = await customer(pool)
        keys += [(await virtual_key(pool, customer_id, role="owner"))[1] for _ in range(2)]
    [code] = await codes(http, processes[0])
    asked = [redeemed(http, processes[at % 3], keys[at % 10], code) for at in range(50)]
    counted = Counter(await asyncio.gather(*asked))
    assert counted == {(200, True): 1, (200, False): 9, (409, "CODE_USED"): 40}
    rows = await pool.fetch("select customer_id, amount_nusd from kaixu.topup where source = 'code'")
    assert len(rows) == 1
    extra = await pool.fetch("select customer_id, extra_nusd from kaixu.customer_month where extra_nusd <> 0")
    assert [tuple(row) for row in extra] == [tuple(row) for row in rows]
    assert await pool.fetchval("select count(*) from kaixu.audit_event where action = 'TOPUP_CODE'") == 1


async def test_guesses_at_once_on_three_gateways_are_counted_exactly(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    processes = await start(3)
    customer_id = await customer(pool)
    keys = [(await virtual_key(pool, customer_id, role="owner"))[1] for _ in range(3)]
    guesses = [redeemed(http, processes[at % 3], keys[at % 3], f"KX-{at:025d}") for at in range(40)]
    assert Counter(await asyncio.gather(*guesses)) == {(404, "UNKNOWN_CODE"): 10, (429, "RATE_LIMITED"): 30}


async def test_a_batch_redeemed_while_it_is_revoked_is_either_or(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    processes = await start(3)
    customer_id = await customer(pool)
    _, key = await virtual_key(pool, customer_id, role="owner")
    made = await codes(http, processes[0], count=30)

    headers = await operator(http, processes[1])

    async def revoke() -> int:
        body = {"batch_id": 1, "revoked": True}
        async with http.patch(f"{processes[1].url}/api/admin-codes", json=body, headers=headers) as response:
            count: int = (await response.json())["revoked"]
            return count

    asked = [redeemed(http, processes[at % 3], key, code) for at, code in enumerate(made)]
    answers, revoked = await asyncio.gather(asyncio.gather(*asked), revoke())
    applied = sum(answer == (200, True) for answer in answers)
    assert applied + revoked == 30, (answers, revoked)
    assert await pool.fetchval("select sum(extra_nusd)::bigint from kaixu.customer_month") in (
        None if applied == 0 else applied * 5 * 10**9,
    )
