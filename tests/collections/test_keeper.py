"""Maintenance of collections: indexes are built, repaired, and deleted with their collection."""

from __future__ import annotations

import asyncpg
import pytest

from kaixu.collections.keeper import CollectionKeeper
from kaixu.store import collections as store
from kaixu.store import vector_index
from kaixu.store.pool import maintenance
from tests.store.test_search import LARGE, SMALL, filled


@pytest.fixture
def keeper(pool: asyncpg.Pool, dsn: str) -> CollectionKeeper:
    """One gateway's."""
    return CollectionKeeper(pool, lambda: maintenance(dsn))


async def test_only_a_large_collection_that_is_left_alone_gets_an_index(
    pool: asyncpg.Pool, keeper: CollectionKeeper
) -> None:
    await filled(pool, "small", SMALL)
    await filled(pool, "large", LARGE)
    assert not await keeper.index()  # somebody may still be storing into it
    assert await keeper.index(quiet_s=0)
    assert not await keeper.index(quiet_s=0)


async def test_what_a_crash_left_half_built_is_built_anew(
    pool: asyncpg.Pool, keeper: CollectionKeeper, dsn: str
) -> None:
    large = await filled(pool, "large", LARGE)
    near = vector_index.names_of(large.id)[0]
    part = await vector_index.partition_of(pool, large.id)
    await pool.execute(f"create index {near} on {part} (doc_id) where collection_id = {large.id}")
    await pool.execute("update pg_index set indisvalid = false where indexrelid = $1::regclass", f"kaixu.{near}")
    assert await keeper.index(quiet_s=0)
    made = await pool.fetchval("select pg_get_indexdef($1::regclass)", f"kaixu.{near}")
    assert "hnsw" in made
    assert all(one.is_valid for one in await vector_index.indexes_of(pool, large.id))


async def test_two_gateways_do_not_build_the_same_index(pool: asyncpg.Pool, keeper: CollectionKeeper) -> None:
    await filled(pool, "large", LARGE)
    assert await vector_index.claim(pool, lease_s=60, quiet_s=0) is not None
    assert not await keeper.index(quiet_s=0)


async def test_a_deleted_collection_goes_with_its_rows_and_indexes(
    pool: asyncpg.Pool, keeper: CollectionKeeper
) -> None:
    kept = await filled(pool, "kept", SMALL)
    large = await filled(pool, "large", LARGE)
    assert await keeper.index(quiet_s=0)
    assert await store.delete(pool, large.id, large.customer_id)
    await keeper.remove()
    assert await vector_index.indexes_of(pool, large.id) == []
    assert await pool.fetchval("select array_agg(distinct collection_id) from kaixu.document") == [kept.id]
    assert await pool.fetchval("select array_agg(id) from kaixu.collection") == [kept.id]
