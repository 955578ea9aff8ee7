"""Partitions from before an index get it in the background, also after a crash that left it half built."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from kaixu.gateway.event_indexes import build_event_indexes
from kaixu.store.partition_indexes import MissingIndex, build_index, missing_indexes


async def is_valid(pool: asyncpg.Pool) -> bool:
    """Whether all partitions have the index, so that Postgres calls the whole index valid."""
    valid: bool = await pool.fetchval(
        "select indisvalid from pg_index where indexrelid = 'kaixu.usage_event_request_idx'::regclass"
    )
    return valid


async def build(dsn: str, missing: list[MissingIndex]) -> None:
    """Build them on a connection of their own."""
    connection = await asyncpg.connect(dsn)
    for one in missing:
        await build_index(connection, one)
    await connection.close()


async def test_all_partitions_get_the_index(pool: asyncpg.Pool, dsn: str) -> None:
    missing = await missing_indexes(pool)
    assert [one.partition for one in missing] == ["usage_event_other"]
    await build(dsn, missing)
    assert await missing_indexes(pool) == []
    assert await is_valid(pool)


async def test_what_a_crash_left_is_built_again(pool: asyncpg.Pool, dsn: str) -> None:
    [missing] = await missing_indexes(pool)
    async with pool.acquire() as connection:
        await connection.execute(f'create index "{missing.name}" on kaixu.usage_event_other (request_id)')
        await connection.execute(
            "update pg_index set indisvalid = false where indexrelid = $1::regclass", f"kaixu.{missing.name}"
        )
    [broken] = await missing_indexes(pool)
    assert broken.is_broken
    await build(dsn, [broken])
    assert await missing_indexes(pool) == []


@pytest.mark.parametrize("named", ["request_id", "id"])
async def test_events_are_found_by_index(pool: asyncpg.Pool, dsn: str, named: str) -> None:
    await build(dsn, await missing_indexes(pool))
    async with pool.acquire() as connection:
        await connection.execute("set enable_seqscan = off")
        plan = await connection.fetch(f"explain select * from kaixu.usage_event where {named} = '7'")
    assert "Index" in str(plan)
    assert "Seq Scan" not in str(plan)


async def test_a_partition_whose_index_fails_stops_no_other_and_is_tried_again(pool: asyncpg.Pool, dsn: str) -> None:
    @asynccontextmanager
    async def connect() -> AsyncIterator[asyncpg.Connection]:
        connection = await asyncpg.connect(dsn)
        yield connection
        await connection.close()

    await pool.execute("drop index kaixu.usage_event_request_idx")
    await pool.execute("create index usage_event_request_idx on only kaixu.usage_event (request_id)")
    missing = await missing_indexes(pool)
    assert len(missing) > 2
    in_the_way = missing[0].name
    await pool.execute(f'create table kaixu."{in_the_way}" ()')
    building = asyncio.ensure_future(build_event_indexes(pool, connect, retry_s=0.1))
    while len(await missing_indexes(pool)) > 1 and not building.done():
        await asyncio.sleep(0.05)
    assert not building.done()
    await pool.execute(f'drop table kaixu."{in_the_way}"')
    await building
    assert await missing_indexes(pool) == []
    assert await is_valid(pool)
