"""The background task of the roll-ups, in several processes at once."""

from __future__ import annotations

import asyncio

import asyncpg

from kaixu.metering.rollups import UsageRollups
from kaixu.plugin.types import Usage
from kaixu.store.rollups import rollup_state
from tests.support.calls import billed
from tests.support.money import customer, virtual_key
from tests.support.rollups import assert_folded_rollups_agree


async def test_rounds_of_several_processes_fold_everything_once(pool: asyncpg.Pool) -> None:
    key_id, _ = await virtual_key(pool, await customer(pool))
    processes = [UsageRollups(pool, lambda: "UTC") for _ in range(3)]
    for _ in range(3):
        await asyncio.gather(*(billed(pool, key_id, Usage(3, 4)) for _ in range(4)))
        await asyncio.gather(*(process.round() for process in processes))
    await processes[0].round()
    assert await pool.fetchval("select count(*) from kaixu.usage_change") == 0
    await assert_folded_rollups_agree(pool)
    assert (await rollup_state(pool)).filled_at is not None


async def test_a_changed_zone_is_applied_once_by_whoever_has_it(pool: asyncpg.Pool) -> None:
    zones = ["Europe/Berlin", "UTC"]
    one, other = UsageRollups(pool, lambda: zones[0]), UsageRollups(pool, lambda: zones[1])
    await other.round()
    await one.round()  # its kaixu.yaml is the newer one
    await other.round()
    assert (await rollup_state(pool)).reporting_zone == "Europe/Berlin"
    zones[0] = "Asia/Tokyo"
    await one.round()
    await other.round()
    assert (await rollup_state(pool)).reporting_zone == "Asia/Tokyo"
