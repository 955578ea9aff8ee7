"""A customer is deleted while it calls on three gateways, and by a command that is killed in the middle."""

from __future__ import annotations

import asyncio
from collections import Counter

import aiohttp
import asyncpg

from kaixu.accounts.demo import seed_demo
from kaixu.reports.reconcile import reconcile
from tests.support.kaixu import start_kaixu
from tests.support.money import assert_books_balance, customer, virtual_key
from tests.support.process import SECRETS, Client, Process
from tests.support.size import size

from .conftest import Start


async def operator(http: aiohttp.ClientSession, process: Process) -> dict[str, str]:
    """The header of an operator who has logged in."""
    password = {"password": SECRETS["ADMIN_PASSWORD"]}
    async with http.post(f"{process.url}/api/admin-login", json=password) as response:
        return {"authorization": f"Bearer {(await response.json())['token']}"}


async def test_calls_on_three_gateways_either_end_before_the_deletion_or_are_refused(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    processes = await start(3)
    customer_id = await customer(pool)
    _, key = await virtual_key(pool, customer_id)
    _, other_key = await virtual_key(pool, await customer(pool))
    headers = await operator(http, processes[0])
    email = await pool.fetchval("select email from kaixu.customer where id = $1", customer_id)
    statuses: Counter[int] = Counter()
    deleted = asyncio.Event()

    async def calls(process: Process) -> None:
        client = Client(http, process.url, key, **{"x-kaixu-install-id": "phone-of-ada", "x-kaixu-app": "app-of-ada"})
        while not deleted.is_set():
            statuses[(await client.chat(user="ada"))[0]] += 1
        assert (await client.chat())[0] == 401

    async def delete() -> Counter[str]:
        answers: Counter[str] = Counter()
        async with asyncio.timeout(60):
            while True:
                url = f"{processes[1].url}/api/admin-customers?customer_id={customer_id}"
                async with http.delete(url, json={"confirm": email}, headers=headers) as response:
                    reply = await response.json()
                    answers[str(reply.get("code", response.status))] += 1
                    if response.status == 200:
                        deleted.set()
                        return answers

    callers = asyncio.gather(*(calls(process) for process in processes for _ in range(2)))
    answers, _ = await asyncio.gather(delete(), callers)
    assert answers["200"] == 1
    assert {*answers} <= {"200", "CALLS_IN_FLIGHT"}
    assert {*statuses} <= {200, 401}
    assert (await Client(http, processes[2].url, other_key).chat())[0] == 200
    await assert_books_balance(pool)
    async with pool.acquire() as connection:
        assert (await reconcile(connection)).differences == []
    made = await pool.fetchval("select count(*) from kaixu.usage_event where customer_id = $1", customer_id)
    assert made == statuses[200]
    for column in ("request_id", "install_id", "app_id", "end_user"):
        found = await pool.fetchval(
            f"select count(*) from kaixu.usage_event where customer_id = $1 and {column} is not null"
            " and request_id <> 'deleted'",
            customer_id,
        )
        assert found == 0
    assert await pool.fetchval("select count(*) from kaixu.device where customer_id = $1", customer_id) == 0


async def test_a_command_that_is_killed_is_repeated(start: Start, pool: asyncpg.Pool) -> None:
    [process] = await start()
    await seed_demo(pool, customers=3, events=size(30_000, 300_000), seed=5, force=False, progress=lambda _: None)
    row = await pool.fetchrow(
        "select customer_id as id, count(*) as events from kaixu.usage_event group by 1 order by 2 desc limit 1"
    )
    assert row is not None
    email = await pool.fetchval("select email from kaixu.customer where id = $1", row["id"])
    with (process.home / "delete.log").open("ab") as log:
        command = start_kaixu("customers", "delete", email, "--yes", environment=process.environment, out=log)
        async with asyncio.timeout(60):
            while not await pool.fetchval("select removed ? 'usage_event' from kaixu.customer_deletion"):
                assert command.poll() is None, (process.home / "delete.log").read_text()
        command.kill()
        command.wait()
    left = await pool.fetchval(
        "select count(*) from kaixu.usage_event where customer_id = $1 and request_id <> 'deleted'", row["id"]
    )
    assert left > 0, "it was killed too late to prove anything"
    assert await pool.fetchval("select finished_at from kaixu.customer_deletion") is None
    done = await process.command("customers", "delete", str(row["id"]), "--yes", "--json")
    assert done.returncode == 0, done.stderr
    assert (
        await pool.fetchval("select (removed ->> 'usage_event')::bigint from kaixu.customer_deletion") == row["events"]
    )
    assert await pool.fetchval("select count(*) from kaixu.usage_event where request_id <> 'deleted' and customer_id = $1", row["id"]) == 0  # fmt: skip
    async with pool.acquire() as connection:
        assert (await reconcile(connection)).differences == []
