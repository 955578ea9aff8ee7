"""A connection that is kept between statements."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from kaixu.store.kept import LEAST_POOL, KeptConnection
from kaixu.store.pool import open_pool

#: Which process of Postgres answers.
PROCESS = "select pg_backend_pid() as process"


@pytest.fixture
async def few(dsn: str) -> AsyncIterator[asyncpg.Pool]:
    """A pool of as many connections as allow one to be kept."""
    pool = await open_pool(dsn, least=0, most=LEAST_POOL)
    yield pool
    await pool.close()


async def process_of(kept: KeptConnection) -> int:
    """The process of Postgres that answers."""
    [row] = await kept.fetch(PROCESS)
    process: int = row["process"]
    return process


async def until_idle(pool: asyncpg.Pool, count: int) -> None:
    """Wait until so many connections of `pool` are idle."""
    async with asyncio.timeout(30):
        while pool.get_idle_size() < count:
            await asyncio.sleep(0.02)


async def test_statements_follow_each_other_on_one_connection(few: asyncpg.Pool) -> None:
    kept = KeptConnection(lambda: few)
    assert len({await process_of(kept) for _ in range(5)}) == 1


async def test_statements_at_the_same_time_do_not_meet_on_one_connection(few: asyncpg.Pool) -> None:
    kept = KeptConnection(lambda: few)
    assert [row[0]["n"] for row in await asyncio.gather(*(kept.fetch("select 7 as n") for _ in range(9)))] == [7] * 9


async def test_the_connection_goes_back_when_nothing_uses_it(few: asyncpg.Pool) -> None:
    kept = KeptConnection(lambda: few)
    await process_of(kept)
    await until_idle(few, 1)
    assert await process_of(kept)


async def test_after_its_connection_has_ended_it_takes_another_one(few: asyncpg.Pool) -> None:
    kept = KeptConnection(lambda: few)
    process = await process_of(kept)
    await few.execute("select pg_terminate_backend($1, 20000)", process)
    async with asyncio.timeout(30):
        while True:
            try:
                assert await process_of(kept) != process
                return
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):  # the end has not arrived here yet
                await asyncio.sleep(0.02)


async def test_a_statement_that_is_given_up_or_refused_leaves_nothing_behind(few: asyncpg.Pool) -> None:
    kept = KeptConnection(lambda: few)
    sleeping = asyncio.ensure_future(kept.fetch("select pg_sleep(60)"))
    async with asyncio.timeout(30):
        while few.get_size() == few.get_idle_size():
            await asyncio.sleep(0.02)
    sleeping.cancel()
    await asyncio.wait([sleeping])
    with pytest.raises(asyncpg.DivisionByZeroError):
        await kept.fetch("select 1 / 0")
    assert await process_of(kept)
    await kept.close()
    await until_idle(few, few.get_size())


async def test_small_pools_are_left_alone(dsn: str) -> None:
    pool = await open_pool(dsn, least=0, most=LEAST_POOL - 1)
    kept = KeptConnection(lambda: pool)
    await process_of(kept)
    assert pool.get_idle_size() == pool.get_size()
    await pool.close()
