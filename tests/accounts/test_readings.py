"""Readings: bounded by a window of their own, in SQL; and whose a key is, remembered for some seconds."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest

from kaixu.accounts.key_material import key_hash, legacy_hash, new_key
from kaixu.accounts.readings import UNIT_BYTES, KeyLookup, count_reading
from kaixu.plugin.errors import CustomerDisabled, KaixuError, RateLimited, Unauthenticated
from tests.support.money import customer, virtual_key
from tests.support.process import SECRETS


def hashes(key: str) -> dict[str, Any]:
    """Who a key is."""
    return {"key_hash": key_hash(SECRETS["KEY_PEPPER"], key), "legacy_hash": legacy_hash(key), "key_id": None}


async def take(pool: asyncpg.Pool, key: str, body_bytes: int = 0) -> KaixuError | None:
    """One reading: None, or the error."""
    try:
        await count_reading(pool, **hashes(key), body_bytes=body_bytes, per_minute=120, default_rpm=60)
    except KaixuError as error:
        return error
    return None


async def test_a_key_may_read_so_often_a_minute_and_its_calls_lose_nothing(pool: asyncpg.Pool) -> None:
    _, key = await virtual_key(pool, await customer(pool), rpm_limit=1)
    results = await asyncio.gather(*(take(pool, key) for _ in range(130)))
    refused = [error for error in results if error is not None]
    assert [error.status for error in refused] == [429] * 10
    assert all(1 <= (error.retry_after_s or 0) <= 61 for error in refused)
    assert await pool.fetchval("select count(*) from kaixu.rate_window") == 0


async def test_a_key_and_those_that_replace_it_share_a_window(pool: asyncpg.Pool) -> None:
    owner = await customer(pool)
    first, key = await virtual_key(pool, owner)
    other, rotated = await virtual_key(pool, owner)
    await pool.execute("update kaixu.virtual_key set chain_id = $1 where id = $2", first, other)
    assert await take(pool, key, UNIT_BYTES * 100) is None
    assert isinstance(await take(pool, rotated, UNIT_BYTES * 30), RateLimited)
    assert await take(pool, rotated, UNIT_BYTES * 10) is None


async def test_a_long_body_takes_more_and_the_longest_still_has_room(pool: asyncpg.Pool) -> None:
    _, key = await virtual_key(pool, await customer(pool))
    assert await take(pool, key, UNIT_BYTES * 1000) is None
    assert isinstance(await take(pool, key), RateLimited)


@pytest.mark.parametrize("limit", [{"rpm_limit": 0}, {"rpd_limit": 0}], ids=str)
async def test_a_key_that_may_not_call_reads_nothing(pool: asyncpg.Pool, limit: dict[str, int]) -> None:
    _, key = await virtual_key(pool, await customer(pool), **limit)
    assert isinstance(await take(pool, key), RateLimited)


async def test_unknown_disabled_and_revoked_keys_read_nothing(pool: asyncpg.Pool) -> None:
    owner = await customer(pool)
    _, key = await virtual_key(pool, owner)
    assert isinstance(await take(pool, new_key()), Unauthenticated)
    await pool.execute("update kaixu.customer set is_active = false")
    assert isinstance(await take(pool, key), CustomerDisabled)
    await pool.execute("update kaixu.virtual_key set revoked_at = now()")
    assert isinstance(await take(pool, key), Unauthenticated)


@pytest.mark.parametrize(("ahead", "is_free"), [(7200, True), (-120, True), (-30, False)])
async def test_a_window_of_another_time_does_not_count(pool: asyncpg.Pool, ahead: int, is_free: bool) -> None:
    _, key = await virtual_key(pool, await customer(pool))
    assert await take(pool, key, UNIT_BYTES * 1000) is None
    now = "floor(extract(epoch from clock_timestamp()))::bigint"
    await pool.execute(
        f"""
        update kaixu.reading_window
           set second_slot = {now} + $1::bigint,
               second_counts = array(select case when at = ({now} + $1::bigint) % 61 then 120 else 0 end
                                       from generate_series(0, 60) at)
        """,
        ahead,
    )
    assert (await take(pool, key) is None) == is_free


async def test_whose_a_key_is_is_remembered_for_some_seconds(pool: asyncpg.Pool) -> None:
    now = 0.0
    lookup = KeyLookup(pool, lambda: now)
    owner = await customer(pool)
    _, key = await virtual_key(pool, owner)
    assert await lookup.owner_of(**hashes(key)) == owner
    await pool.execute("update kaixu.virtual_key set revoked_at = now()")
    assert await lookup.owner_of(**hashes(key)) == owner
    now = 6.0
    with pytest.raises(Unauthenticated):
        await lookup.owner_of(**hashes(key))
    await pool.execute("update kaixu.virtual_key set revoked_at = null")
    now = 9.0
    assert await lookup.owner_of(**hashes(key)) == owner
