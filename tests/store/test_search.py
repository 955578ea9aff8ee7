"""How a search is planned: by a collection's own indexes where it is large, past everybody else's rows always."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple, cast
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest

from kaixu.collections.filters import parse_filter
from kaixu.collections.keeper import CollectionKeeper
from kaixu.reports import collection_indexes
from kaixu.store import search, vector_index
from kaixu.store.collections import Collection, collection_of_key
from kaixu.store.conditions import ALL, Condition
from kaixu.store.documents import Piece, store_documents
from kaixu.store.pool import maintenance, open_pool
from kaixu.store.query import DatabaseSession
from kaixu.store.vectors import packed
from tests.conftest import copied
from tests.support.money import customer, virtual_key
from tests.vendors.stage import database

DIMENSIONS = 16
LARGE = search.exact_rows(DIMENSIONS) + 100
SMALL = 50


def vector(number: int) -> list[float]:
    """Somewhere."""
    source = random.Random(number)
    return [source.gauss(0, 1) for _ in range(DIMENSIONS)]


async def filled(pool: asyncpg.Pool, name: str, count: int, dimensions: int = DIMENSIONS) -> Collection:
    """A collection of a customer's own."""
    customer_id = await customer(pool)
    key_id, _ = await virtual_key(pool, customer_id)
    collection_id = await pool.fetchval(
        """
        insert into kaixu.collection (customer_id, name, provider, model, dimensions, language)
        values ($1, $2, 'up', 'words', $3, 'english') returning id
        """,
        customer_id,
        name,
        dimensions,
    )
    for start in range(0, count, 2000):
        numbers = range(start, min(start + 2000, count))
        await store_documents(
            pool,
            collection_id=collection_id,
            customer_id=customer_id,
            ticket=uuid4(),
            pieces=[Piece(f"d{at}", 0, 0, f"text number{at}", {"hundred": at % 100}) for at in numbers],
            vectors=[packed((vector(at) * (dimensions // DIMENSIONS))[:dimensions]) for at in numbers],
            most_vectors=10**9,
        )
    found = await collection_of_key(pool, key_id=key_id, key_hash=None, legacy_hash=None, name=name)
    assert found is not None
    return found


async def nearest(
    pool: asyncpg.Pool, collection: Collection, query_vector: bytes, *, condition: Condition = ALL, limit: int
) -> list[search.SearchHit]:
    """Search on a connection of the pool."""
    async with pool.acquire() as connection:
        return await search.nearest(
            cast(DatabaseSession, connection), collection, query_vector, condition=condition, limit=limit
        )


async def plan(pool: asyncpg.Pool, sql: str, *values: object) -> str:
    """How Postgres would go about it, also after many calls of the same statement."""
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(search.settings(search.EF_SEARCH))
        rows = await connection.fetch(f"explain {sql}", *values)
    return "\n".join(row[0] for row in rows)


class Indexed(NamedTuple):
    """A database that each test has a copy of, and the large collection there."""

    name: str
    large: Collection


@pytest.fixture(scope="module")
def indexed(server_dsn: str, pristine: str) -> Iterator[Indexed]:
    """One collection that is indexed, among others that are not."""

    async def fill(dsn: str) -> Collection:
        async with await open_pool(dsn) as pool:
            await filled(pool, "beside", SMALL)
            made = await filled(pool, "large", LARGE)
            assert await CollectionKeeper(pool, lambda: maintenance(dsn)).index(quiet_s=0)
            return await again(pool, made)

    with database(server_dsn, pristine) as dsn:
        yield Indexed(urlsplit(dsn).path.strip("/"), asyncio.run(fill(dsn)))


@pytest.fixture
async def dsn(request: pytest.FixtureRequest, server_dsn: str, pristine: str) -> AsyncIterator[str]:
    """A copy of it for a test of the large collection, and an empty database for any other."""
    template = request.getfixturevalue("indexed").name if "large" in request.fixturenames else pristine
    async with copied(server_dsn, template) as dsn:
        yield dsn


@pytest.fixture
def large(indexed: Indexed) -> Collection:
    """The large collection."""
    return indexed.large


async def again(pool: asyncpg.Pool, collection: Collection) -> Collection:
    """As it is now."""
    key_id = await pool.fetchval("select id from kaixu.virtual_key where customer_id = $1", collection.customer_id)
    found = await collection_of_key(pool, key_id=key_id, key_hash=None, legacy_hash=None, name=collection.name)
    assert found is not None
    return found


async def test_a_large_collection_is_searched_by_its_own_indexes(pool: asyncpg.Pool, large: Collection) -> None:
    assert large.index_state == "ready"
    near, metadata, words = vector_index.names_of(large.id)
    query_vector = packed(vector(-1))
    sql = search.indexed_sql(large.id, DIMENSIONS, ALL, ef_search=search.EF_SEARCH)
    assert near in await plan(pool, sql, query_vector, 10)

    narrow = parse_filter({"hundred": 7})
    assert metadata in await plan(pool, search.matching_sql(large.id, narrow), 1000, query_vector, *narrow.values)
    broad = parse_filter({"hundred": {"$gte": 10}})
    assert near in await plan(pool, search.indexed_sql(large.id, DIMENSIONS, broad), query_vector, 10, *broad.values)
    by_words = search.words_sql(large.id, ALL)
    assert words in await plan(pool, by_words, query_vector, 10, "text number77", "english", float(LARGE))


async def test_the_index_is_still_used_when_a_statement_has_been_planned_for_good(
    pool: asyncpg.Pool, large: Collection
) -> None:
    near = vector_index.names_of(large.id)[0]
    sql = search.indexed_sql(large.id, DIMENSIONS, ALL, ef_search=search.EF_SEARCH)
    async with pool.acquire() as connection:
        await connection.execute("set plan_cache_mode = force_generic_plan")
        try:
            rows = await connection.fetch(f"explain (analyze) {sql}", packed(vector(-1)), 10)
        finally:
            await connection.execute("reset plan_cache_mode")
    assert near in "\n".join(row[0] for row in rows)


async def test_a_small_collection_is_searched_through_nothing_but_its_own_rows(
    pool: asyncpg.Pool, large: Collection
) -> None:
    part = await vector_index.partition_of(pool, large.id)
    small = await filled(pool, "small", SMALL)
    for at in range(200):
        if await vector_index.partition_of(pool, small.id) == part:
            break
        small = await filled(pool, f"small {at}", SMALL)  # until one lies among the rows of the large one
    await pool.execute("analyze kaixu.document")
    async with pool.acquire() as connection:
        rows = await connection.fetch(
            f"explain (analyze, format json) {search.exact_sql(small.id, ALL)}", packed(vector(-1)), 10
        )
    plan_text = str(rows[0][0])
    assert "Seq Scan" not in plan_text
    assert f"document_{large.id}" not in plan_text
    assert "_pkey" in plan_text


async def test_an_index_finds_what_exact_search_finds(pool: asyncpg.Pool, large: Collection) -> None:
    exact = Collection(**{**{name: getattr(large, name) for name in large.__struct_fields__}, "index_state": "none"})
    hits = 0
    for at in range(30):
        query_vector = packed(vector(-1 - at))
        condition = parse_filter([None, {"hundred": 5}, {"hundred": {"$lt": 10}}][at % 3])
        found = await nearest(pool, large, query_vector, condition=condition, limit=10)
        right = await nearest(pool, exact, query_vector, condition=condition, limit=10)
        assert len(found) == 10
        hits += len({one.doc_id for one in found} & {one.doc_id for one in right})
    assert hits >= 0.98 * 300


async def test_a_filter_with_fewer_matches_than_the_limit_finds_all_of_them(
    pool: asyncpg.Pool, large: Collection
) -> None:
    await pool.execute(
        "update kaixu.document set metadata = '{\"rare\": 5}' where collection_id = $1 and doc_id in ('d1', 'd2', 'd3')",
        large.id,
    )
    query_vector = packed(vector(-1))
    for condition in (parse_filter({"rare": 5}), parse_filter({"rare": {"$gt": 4}})):
        found = await nearest(pool, large, query_vector, condition=condition, limit=10)
        assert {one.doc_id for one in found} == {"d1", "d2", "d3"}


async def test_sessions_of_a_pooler_search_with_the_same_care(dsn: str, pool: asyncpg.Pool, large: Collection) -> None:
    through = await open_pool(dsn, pooler=True)
    try:
        query_vector = packed(vector(-1))
        assert await nearest(through, large, query_vector, limit=10) == await nearest(
            pool, large, query_vector, limit=10
        )
    finally:
        await through.close()


async def test_long_vectors_have_an_index_too_and_very_long_ones_none(pool: asyncpg.Pool, dsn: str) -> None:
    keeper = CollectionKeeper(pool, lambda: maintenance(dsn))
    long = await filled(pool, "long", search.exact_rows(3072) + 1, 3072)
    await filled(pool, "longest", search.exact_rows(4096) + 1, 4096)
    assert await keeper.index(quiet_s=0)
    assert not await keeper.index(quiet_s=0)
    assert (await again(pool, long)).index_state == "ready"
    overview = await collection_indexes.overview(pool)
    assert (overview.indexed, overview.waiting) == (1, 0)
