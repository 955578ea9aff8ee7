"""Connections for collections: limited per customer, with a time limit per statement, also behind a pooler."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from kaixu.collections.searches import Searches
from kaixu.config.database import DatabaseSection
from kaixu.plugin.errors import Overloaded, RateLimited, SearchTooSlow
from kaixu.store.pools import open_pools
from kaixu.store.search import nearest
from kaixu.store.vectors import packed
from tests.store.test_search import SMALL, filled, vector


@pytest.mark.parametrize("pooler", [False, True], ids=["direct", "pooler"])
async def test_a_statement_ends_in_time_and_the_connection_is_good_for_the_next(
    dsn: str, pool: asyncpg.Pool, pooler: bool
) -> None:
    pools = await open_pools(dsn, DatabaseSection(searches=1, search_s=0.2), pooler=pooler)
    searches = Searches(pools.searches, pools.general, most=2, statement_s=0.2, pooler=pooler)
    try:
        with pytest.raises(SearchTooSlow):
            async with searches.reading(1) as connection:
                await connection.fetchval("select pg_sleep(30)")
        small = await filled(pool, "small", SMALL)
        async with searches.reading(1) as connection:
            assert len(await nearest(connection, small, packed(vector(1)), limit=5)) == 5
            async with connection.transaction(readonly=True):  # as searches by an index do
                assert await connection.fetchval("select 1") == 1
    finally:
        await pools.close()


async def test_a_customer_has_half_of_the_connections_and_its_own_places(pool: asyncpg.Pool) -> None:
    searches = Searches(pool, pool, most=2, statement_s=5)
    with searches.place(1), searches.place(1):
        with pytest.raises(RateLimited) as raised, searches.place(1):
            pass
        assert raised.value.code == "TOO_MANY_SEARCHES"
        with searches.place(2):
            pass
    with searches.place(1):
        pass

    half = pool.get_max_size() // 2
    inside, go_on = asyncio.Semaphore(0), asyncio.Event()

    async def hold(customer_id: int) -> None:
        async with searches.reading(customer_id, wait_s=30):
            inside.release()
            await go_on.wait()

    holding = [asyncio.ensure_future(hold(customer_id)) for customer_id in (1, 2) for _ in range(half)]
    for _ in holding:
        await inside.acquire()
    with pytest.raises(RateLimited):
        async with searches.reading(1, wait_s=0.01):
            pass
    with pytest.raises(Overloaded) as busy:
        async with searches.reading(3, wait_s=0.01):
            pass
    assert busy.value.code == "COLLECTIONS_OVERLOADED"
    go_on.set()
    await asyncio.gather(*holding)
    async with searches.reading(1, wait_s=0.01):
        pass


async def test_money_has_its_own_connections(dsn: str) -> None:
    pools = await open_pools(dsn, DatabaseSection(money=2, general=2, searches=1, reports=1), pooler=False)
    try:
        others = [
            await pool.acquire()
            for pool in (pools.general, pools.searches, pools.reports)
            for _ in range(pool.get_max_size())
        ]
        assert await pools.money.fetchval("select 1", timeout=10) == 1
        names = await pools.money.fetch(
            "select split_part(application_name, ' ', 2) as name, count(*) as count from pg_stat_activity"
            " where datname = current_database() and application_name like 'kaixu %' group by 1 order by 1"
        )
        assert [tuple(row) for row in names] == [("general", 2), ("money", 2), ("reports", 1), ("searches", 1)]
        assert len(others) == 4
    finally:
        for pool in (pools.general, pools.searches, pools.reports):
            pool.terminate()
        await pools.close()
