"""Models and customers that cost more than they bring are told once each and day."""

from __future__ import annotations

import asyncio

import asyncpg

from kaixu.plugin.types import Usage
from kaixu.store.alerts import check_margins, prune_alerts
from kaixu.store.rollups import fold_usage
from tests.support.calls import billed
from tests.support.money import customer, virtual_key

#: Costs the vendor's price of a million tokens, 0.15 dollars.
MILLION = Usage(input_tokens=1_000_000)


async def told(pool: asyncpg.Pool) -> list[tuple[str, str, int]]:
    rows = await pool.fetch(
        """
        select body->>'subject', body->>'name', (body->>'margin_nusd')::bigint from kaixu.alert
         where type = 'MARGIN_NEGATIVE' order by id
        """
    )
    return [tuple(row) for row in rows]


async def check(pool: asyncpg.Pool, least_loss_nusd: int = 10_000_000) -> None:
    await fold_usage(pool, most=1000)
    await check_margins(pool, least_loss_nusd=least_loss_nusd)


async def test_a_loss_is_told_once_a_day_for_the_model_and_for_the_customer(pool: asyncpg.Pool) -> None:
    good, bad = await customer(pool), await customer(pool)
    good_key, bad_key = (await virtual_key(pool, good))[0], (await virtual_key(pool, bad))[0]
    await billed(pool, good_key, MILLION, cost=160_000_000)
    await billed(pool, bad_key, MILLION, cost=50_000_000)
    await fold_usage(pool, most=1000)
    await asyncio.gather(*(check(pool) for _ in range(6)))
    # 0.15 each: together 0.30 - 0.21
    assert await told(pool) == [("customer", str(bad), -100_000_000), ("model", "up/m", -90_000_000)]
    row = await pool.fetchrow("select customer_id, body from kaixu.alert order by id limit 1")
    assert row is not None
    assert row["customer_id"] == bad
    assert (row["body"]["spent_nusd"], row["body"]["vendor_cost_nusd"], row["body"]["calls"]) == (
        50_000_000,
        150_000_000,
        1,
    )


async def test_a_smaller_loss_than_the_operator_wants_to_hear_of_is_not_told(pool: asyncpg.Pool) -> None:
    key_id, _ = await virtual_key(pool, await customer(pool))
    await billed(pool, key_id, MILLION, cost=50_000_000)
    await check(pool, 100_000_001)
    assert await told(pool) == []
    await check(pool, 100_000_000)
    assert len(await told(pool)) == 2


async def test_no_loss_is_no_alert_even_with_a_least_loss_of_nothing(pool: asyncpg.Pool) -> None:
    key_id, _ = await virtual_key(pool, await customer(pool))
    await billed(pool, key_id, MILLION, cost=150_000_000)
    await check(pool, 0)
    assert await told(pool) == []


async def test_a_vendor_cost_that_is_not_known_is_no_profit_and_no_loss(pool: asyncpg.Pool) -> None:
    key_id, _ = await virtual_key(pool, await customer(pool))
    await billed(pool, key_id, MILLION, cost=100_000_000)
    await fold_usage(pool, most=1000)
    await pool.execute("update kaixu.usage_day set uncosted_nusd = spent_nusd, vendor_cost_nusd = 0")
    await check(pool)
    assert await told(pool) == []


async def test_yesterday_is_told_beside_today_and_earlier_days_are_not(pool: asyncpg.Pool) -> None:
    key_id, _ = await virtual_key(pool, await customer(pool))
    await billed(pool, key_id, MILLION, cost=50_000_000)
    await fold_usage(pool, most=1000)
    for days in (1, 2):
        await pool.execute("update kaixu.usage_day set day = current_date - $1::integer", days)
        await check(pool)
    rows = await pool.fetch("select distinct current_date - (body->>'day')::date as ago from kaixu.alert")
    assert [row["ago"] for row in rows] == [1]


async def test_what_keeps_an_alert_from_being_told_again_is_not_removed_with_old_alerts(pool: asyncpg.Pool) -> None:
    key_id, _ = await virtual_key(pool, await customer(pool))
    await billed(pool, key_id, MILLION, cost=50_000_000)
    await check(pool)
    await pool.execute("select kaixu.raise_alert('VENDOR_DOWN', '{}')")
    await pool.execute("update kaixu.alert set created_at = now() - interval '2 days', dispatched_at = now()")
    assert await prune_alerts(pool, days=1) == 1
    await check(pool)
    assert len(await told(pool)) == 2
    await pool.execute("update kaixu.alert set created_at = now() - interval '101 days'")
    assert await prune_alerts(pool, days=1) == 2


async def test_an_alert_that_was_not_dispatched_is_never_removed(pool: asyncpg.Pool) -> None:
    await pool.execute("select kaixu.raise_alert('VENDOR_DOWN', '{}')")
    await pool.execute("update kaixu.alert set created_at = now() - interval '1 year'")
    assert await prune_alerts(pool, days=1) == 0
