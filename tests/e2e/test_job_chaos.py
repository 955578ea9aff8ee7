"""Five hundred jobs, three workers, and everything dies at random: each job ends once, and is billed once."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import aiohttp
import asyncpg

from kaixu.store.embedded import EmbeddedPostgres
from kaixu.store.pool import open_pool
from tests.support.money import assert_books_balance, customer, virtual_key
from tests.support.process import Client, Process, config_for
from tests.support.vendor import Vendor
from tests.support.worker import Worker

from .test_crashes import kill_postgres, own_postgres

__all__ = ["own_postgres"]

#: How many jobs each customer hands in: one does its best to be before everybody else.
SHARES = (300, 90, 60, 30, 20)
MODEL = "stream-8-20"
COST = 14 * 1000 + 8 * 2000
SEED = 20_261_124
KILLS = 10


async def test_every_job_ends_exactly_once_whatever_dies(
    own_postgres: tuple[EmbeddedPostgres, str], tmp_path: Path, http: aiohttp.ClientSession, vendor: Vendor
) -> None:
    embedded, dsn = own_postgres
    jobs = "jobs: {workers: 0, most_waiting: 1000}, reservation_s: 3"
    gateway = Process(tmp_path / "gateway", dsn, config_for(vendor.url, MODEL, gateway=jobs))
    working = "jobs: {workers: 4, lease_s: 1.5}, reservation_s: 3, on_lost: charge"
    workers = [Worker(tmp_path / f"worker{at}", dsn, config_for(vendor.url, MODEL, gateway=working)) for at in range(3)]
    await gateway.start()
    pool = await open_pool(dsn)
    try:
        customers = [await customer(pool) for _ in SHARES]
        clients = [Client(http, gateway.url, (await virtual_key(pool, one))[1]) for one in customers]

        async def hand_in(client: Client) -> None:
            body = {"provider": "up", "model": MODEL, "messages": [{"role": "user", "content": "hello"}]}
            url = f"{gateway.url}/api/gateway-job-submit"
            async with http.post(url, json=body, headers=client.headers) as response:
                assert response.status == 202, await response.text()

        for client, share in zip(clients, SHARES, strict=True):
            for start in range(0, share, 30):
                await asyncio.gather(*(hand_in(client) for _ in range(min(30, share - start))))
        for worker in workers:
            worker.start()
        await chaos(embedded, workers, pool)
        async with asyncio.timeout(90):
            while await unended(pool):
                for worker in workers:
                    if not worker.alive:
                        worker.start()
                await asyncio.sleep(0.2)
        for worker in workers:
            assert await worker.stop() == 0, worker.log.read_text()[-3000:]
        async with asyncio.timeout(20):
            while await pool.fetchval("select count(*) from kaixu.reservation"):
                await asyncio.sleep(0.1)
        await assert_each_ended_and_was_billed_once(pool, customers)
        await assert_fair(pool, customers)
    finally:
        for worker in workers:
            worker.kill()
        await gateway.stop()
        pool.terminate()


async def chaos(embedded: EmbeddedPostgres, workers: list[Worker], pool: asyncpg.Pool) -> None:
    """Kill workers, and twice Postgres, at moments that a seed has chosen."""
    choice = random.Random(SEED)
    async with asyncio.timeout(30):
        while not await pool.fetchval("select count(*) from kaixu.job where status = 'succeeded'"):
            await asyncio.sleep(0.05)
    for kill in range(KILLS):
        await asyncio.sleep(choice.uniform(0.2, 0.9))
        if kill in (3, 7):
            kill_postgres(embedded)
            await asyncio.sleep(choice.uniform(0.1, 0.6))
            await asyncio.to_thread(embedded.revive)
            await pool.expire_connections()
            continue
        victim = choice.choice(workers)
        victim.kill()
        for worker in workers:
            if not worker.alive and choice.random() < 0.8:
                worker.start()


async def unended(pool: asyncpg.Pool) -> int:
    """How many jobs have not ended; many while the database is away."""
    try:
        count: int = await pool.fetchval("select count(*) from kaixu.job where completed_at is null")
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return 1
    return count


async def assert_each_ended_and_was_billed_once(pool: asyncpg.Pool, customers: list[int]) -> None:
    """One end, one bill, one cost for each, and the month is their sum; an attempt that the chaos ended after its vendor
    had worked has an event that costs nothing.
    """
    ended = await pool.fetch("select status, count(*) as count from kaixu.job group by status")
    assert {row["status"]: row["count"] for row in ended} == {"succeeded": sum(SHARES)}
    billed = await pool.fetch(
        "select end_reason, cost_nusd, count(*) as count from kaixu.usage_event where end_reason <> 'undelivered' group by 1, 2"
    )
    assert [tuple(row) for row in billed] == [("complete", COST, sum(SHARES))]
    assert not await pool.fetchval(
        "select count(*) from kaixu.usage_event"
        " where end_reason = 'undelivered' and (cost_nusd <> 0 or not units ? 'unbilled_nusd')"
    )
    assert await pool.fetchval(
        "select count(distinct j.id) from kaixu.job j join kaixu.usage_event e on e.ticket = j.ticket and e.month = j.month"
    ) == sum(SHARES)
    for owner, share in zip(customers, SHARES, strict=True):
        row = await pool.fetchrow(
            """
            select m.spent_nusd, m.held_nusd, m.calls - (select count(*) from kaixu.usage_event e
                                                          where e.customer_id = $1 and e.end_reason = 'undelivered')
              from kaixu.customer_month m where m.customer_id = $1
            """,
            owner,
        )
        assert row is not None
        assert tuple(row) == (share * COST, 0, share)
    await assert_books_balance(pool)


async def assert_fair(pool: asyncpg.Pool, customers: list[int]) -> None:
    """Who handed in little does not wait for who handed in much."""
    order = [row[0] for row in await pool.fetch("select customer_id from kaixu.job order by completed_at")]
    last = {owner: max(at for at, one in enumerate(order) if one == owner) for owner in customers}
    by_share = [last[owner] for owner in reversed(customers)]
    assert max(by_share[:-1]) < sum(SHARES) - SHARES[0] // 3, "nobody waits for who handed in most"
    assert by_share[0] < sum(SHARES) // 2, "the smallest had its share from the first moment on"
