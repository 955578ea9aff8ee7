"""What is told about caps: each crossing once, whoever notices it, and again only after a recovery."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from kaixu.accounts.customers import create_customer
from kaixu.accounts.plans import apply_plans
from kaixu.config.plans_section import PlanSection
from kaixu.plugin.types import Usage
from kaixu.store.alerts import claim_alerts
from kaixu.store.cap_alerts import Cap, RefusedCap, check_caps, check_noted_caps, note_cap, note_refusals
from kaixu.store.clock import this_month
from kaixu.store.rollups import fold_usage
from tests.support.calls import billed
from tests.support.money import customer, virtual_key

THRESHOLDS = (50, 85, 100)


@pytest.fixture
async def month(pool: asyncpg.Pool) -> date:
    return await this_month(pool)


async def told(pool: asyncpg.Pool) -> list[tuple[str, int | None]]:
    """The alerts that were raised: type and threshold."""
    rows = await pool.fetch("select type, (body->>'threshold_pct')::integer from kaixu.alert order by id")
    return [(row[0], row[1]) for row in rows]


async def spend(pool: asyncpg.Pool, customer_id: int, month: date, spent_nusd: int, *, chain_id: int = 1) -> None:
    """Set what is spent of a month."""
    await pool.execute(
        """
        insert into kaixu.customer_month (customer_id, month, spent_nusd) values ($1, $2, $3)
        on conflict (customer_id, month, book) do update set spent_nusd = excluded.spent_nusd
        """,
        customer_id,
        month,
        spent_nusd,
    )
    await pool.execute(
        """
        insert into kaixu.key_month (chain_id, customer_id, month, spent_nusd) values ($4, $1, $2, $3)
        on conflict (chain_id, month, book) do update set spent_nusd = excluded.spent_nusd
        """,
        customer_id,
        month,
        spent_nusd,
        chain_id,
    )


async def check(pool: asyncpg.Pool, *caps: Cap, thresholds: Sequence[int] = THRESHOLDS) -> list[int | None]:
    """Check caps; the spending at which the next threshold of each lies."""
    return [one.next_nusd for one in await check_caps(pool, caps, thresholds)]


async def test_each_threshold_is_told_once(pool: asyncpg.Pool, month: date) -> None:
    cap = Cap(await customer(pool, cap_nusd=1000), 0, month)
    marks = []
    for spent in (0, 499, 500, 700, 700, 850, 999, 1000, 1000):
        await spend(pool, cap.customer_id, month, spent)
        marks += await check(pool, cap)
    assert marks == [500, 500, 850, 850, 850, 1000, 1000, None, None]
    assert await told(pool) == [("CAP_WARN_CUSTOMER", 50), ("CAP_WARN_CUSTOMER", 85), ("CAP_REACHED_CUSTOMER", 100)]


async def test_of_several_thresholds_passed_at_once_the_highest_is_told(pool: asyncpg.Pool, month: date) -> None:
    cap = Cap(await customer(pool, cap_nusd=1000), 0, month)
    await spend(pool, cap.customer_id, month, 1200)
    await check(pool, cap)
    assert await told(pool) == [("CAP_REACHED_CUSTOMER", 100)]
    body = await pool.fetchval("select body from kaixu.alert")
    assert body == {"month": f"{month:%Y-%m}", "cap_nusd": 1000, "spent_nusd": 1200, "pct": 120, "threshold_pct": 100}


async def test_a_top_up_ends_the_crossing_and_a_new_one_is_told_again(pool: asyncpg.Pool, month: date) -> None:
    cap = Cap(await customer(pool, cap_nusd=1000), 0, month)
    await spend(pool, cap.customer_id, month, 1000)
    await check(pool, cap)
    await pool.execute("select kaixu.top_up('one', $1, $2, 1000, 'manual')", cap.customer_id, month)
    assert await check_noted_caps(pool, THRESHOLDS, most=10) == 1
    assert await check_noted_caps(pool, THRESHOLDS, most=10) == 0
    await spend(pool, cap.customer_id, month, 1700)
    await check(pool, cap)
    assert await told(pool) == [
        ("CAP_REACHED_CUSTOMER", 100),
        ("TOPPED_UP", None),
        ("CAP_RECOVERED_CUSTOMER", None),
        ("CAP_WARN_CUSTOMER", 85),
    ]


async def test_a_repeated_top_up_is_told_once(pool: asyncpg.Pool, month: date) -> None:
    customer_id = await customer(pool, cap_nusd=1000)
    for _ in range(3):
        await pool.execute("select kaixu.top_up('one', $1, $2, 500, 'manual')", customer_id, month)
    assert [alert.body for alert in await claim_alerts(pool, most=10)] == [
        {
            "month": f"{month:%Y-%m}",
            "amount_nusd": 500,
            "extra_nusd": 500,
            "cap_nusd": 1500,
            "spent_nusd": 0,
            "source": "manual",
        }
    ]


async def test_a_top_up_of_an_earlier_month_warns_of_nothing(pool: asyncpg.Pool, month: date) -> None:
    customer_id = await customer(pool, cap_nusd=1000)
    earlier = date(month.year - 1, month.month, 1)
    await spend(pool, customer_id, earlier, 900)
    await pool.execute("select kaixu.top_up('one', $1, $2, 10, 'manual')", customer_id, earlier)
    assert await check_noted_caps(pool, THRESHOLDS, most=10) == 1
    assert await told(pool) == [("TOPPED_UP", None)]


async def test_a_small_top_up_that_leaves_the_spending_above_a_threshold_tells_nothing_twice(
    pool: asyncpg.Pool, month: date
) -> None:
    cap = Cap(await customer(pool, cap_nusd=1000), 0, month)
    await spend(pool, cap.customer_id, month, 900)
    await check(pool, cap)
    await pool.execute("update kaixu.customer set monthly_cap_nusd = 1010")  # 89 %
    await check(pool, cap)
    await check(pool, cap)
    assert await told(pool) == [("CAP_WARN_CUSTOMER", 85)]


async def test_a_plan_that_raises_the_cap_ends_refusals(pool: asyncpg.Pool, month: date) -> None:
    plan = PlanSection(cap=Decimal("1.00"))
    await apply_plans(pool, {"starter": plan})
    row = await create_customer(pool, {"email": "a@example.com"}, default_cap_nusd=1, actor="operator", request_id="r")
    await check_noted_caps(pool, THRESHOLDS, most=10)
    await note_refusals(pool, [RefusedCap(row.id, 0, month, row.monthly_cap_nusd)])
    await apply_plans(pool, {"starter": plan.model_copy(update={"cap": Decimal("2.00")})})
    await check_noted_caps(pool, THRESHOLDS, most=10)
    assert await told(pool) == [("CALLS_REFUSED_CUSTOMER", None), ("CAP_RECOVERED_CUSTOMER", None)]


async def test_a_lowered_cap_is_a_crossing(pool: asyncpg.Pool, month: date) -> None:
    cap = Cap(await customer(pool, cap_nusd=10_000), 0, month)
    await spend(pool, cap.customer_id, month, 600)
    await check(pool, cap)
    await pool.execute("update kaixu.customer set monthly_cap_nusd = 1000")
    await note_cap(pool, customer_id=cap.customer_id, chain_id=0)
    await check_noted_caps(pool, THRESHOLDS, most=10)
    assert await told(pool) == [("CAP_WARN_CUSTOMER", 50)]


@pytest.mark.parametrize(
    ("of_key", "of_customer", "expected"),
    [
        (None, None, 50),
        (None, [60], 60),
        ([70, 20], [60], 70),
        ([], [60], None),
        (None, [], None),
    ],
    ids=["gateway", "customer", "key", "key has none", "customer has none"],
)
async def test_a_key_has_its_own_thresholds_or_its_customers_or_the_gateways(
    pool: asyncpg.Pool, month: date, of_key: Any, of_customer: Any, expected: int | None
) -> None:
    customer_id = await customer(pool, alert_thresholds=of_customer)
    key_id, _ = await virtual_key(pool, customer_id, monthly_cap_nusd=1000, alert_thresholds=of_key)
    await spend(pool, customer_id, month, 750, chain_id=key_id)
    await check(pool, Cap(customer_id, key_id, month))
    assert await told(pool) == ([] if expected is None else [("CAP_WARN_KEY", expected)])


async def test_a_rotated_key_goes_on_under_its_own_name(pool: asyncpg.Pool, month: date) -> None:
    customer_id = await customer(pool)
    first, _ = await virtual_key(pool, customer_id, monthly_cap_nusd=1000)
    second, _ = await virtual_key(pool, customer_id, monthly_cap_nusd=1000)
    await spend(pool, customer_id, month, 600, chain_id=first)
    await check(pool, Cap(customer_id, first, month))
    await pool.execute("update kaixu.virtual_key set revoked_at = now() where id = $1", first)
    await pool.execute("update kaixu.virtual_key set chain_id = $1 where id = $2", first, second)
    await check(pool, Cap(customer_id, first, month))
    await spend(pool, customer_id, month, 900, chain_id=first)
    await check(pool, Cap(customer_id, first, month))
    alerts = await claim_alerts(pool, most=10)
    assert [(one.type, one.key_id, one.body["threshold_pct"]) for one in alerts] == [
        ("CAP_WARN_KEY", first, 50),
        ("CAP_WARN_KEY", second, 85),
    ]


@pytest.mark.parametrize("cap_nusd", [0, 10**18], ids=["no money", "all money"])
async def test_the_ends_of_the_scale_are_no_error(pool: asyncpg.Pool, month: date, cap_nusd: int) -> None:
    cap = Cap(await customer(pool, cap_nusd=cap_nusd), 0, month)
    await spend(pool, cap.customer_id, month, 9 * 10**17)
    await check(pool, cap)
    assert await told(pool) == ([("CAP_WARN_CUSTOMER", 85)] if cap_nusd else [])


async def test_what_does_not_exist_or_has_no_cap_is_not_told(pool: asyncpg.Pool, month: date) -> None:
    customer_id = await customer(pool)
    free, _ = await virtual_key(pool, customer_id)
    revoked, _ = await virtual_key(pool, customer_id, monthly_cap_nusd=10)
    await pool.execute("update kaixu.virtual_key set revoked_at = now() where id = $1", revoked)
    for chain_id in (free, revoked):
        await spend(pool, customer_id, month, 1000, chain_id=chain_id)
    foreign = Cap(customer_id + 1, free, month)
    caps = [Cap(customer_id, free, month), Cap(customer_id, revoked, month), Cap(999, 0, month), foreign]
    assert await check(pool, *caps) == []
    assert await told(pool) == []


async def test_many_checks_at_once_tell_each_crossing_once(pool: asyncpg.Pool, month: date) -> None:
    """Checks of all gateways run beside the settlements that cross the thresholds."""
    customers = [await customer(pool, cap_nusd=1000) for _ in range(5)]
    caps = [Cap(one, 0, month) for one in customers]

    async def spend_and_check(spent: int) -> None:
        for one in customers:
            await pool.execute(
                """
                insert into kaixu.customer_month (customer_id, month, spent_nusd) values ($1, $2, $3)
                on conflict (customer_id, month, book) do update
                   set spent_nusd = kaixu.customer_month.spent_nusd + excluded.spent_nusd
                """,
                one,
                month,
                spent,
            )
        await check(pool, *(caps if spent % 2 else reversed(caps)))

    await asyncio.gather(*(spend_and_check(spent) for spent in [49, 51] * 12))
    await asyncio.gather(*(check(pool, *caps) for _ in range(8)))
    rows = await pool.fetch(
        "select customer_id, type, body->>'threshold_pct' as pct, count(*) from kaixu.alert group by 1, 2, 3"
    )
    assert {row["count"] for row in rows} == {1}
    assert {row["customer_id"] for row in rows if row["type"] == "CAP_REACHED_CUSTOMER"} == set(customers)


async def test_refusals_are_told_once_until_the_cap_is_raised(pool: asyncpg.Pool, month: date) -> None:
    customer_id = await customer(pool, cap_nusd=1000)
    refused = RefusedCap(customer_id, 0, month, 1000)
    await spend(pool, customer_id, month, 400)
    await asyncio.gather(*(note_refusals(pool, [refused, refused]) for _ in range(8)))
    await check(pool, Cap(customer_id, 0, month))  # smaller calls are still admitted: that is no recovery
    assert await told(pool) == [("CALLS_REFUSED_CUSTOMER", None)]
    await pool.execute("update kaixu.customer set monthly_cap_nusd = 2000")
    assert await note_refusals(pool, [refused]) == 0
    await check(pool, Cap(customer_id, 0, month))
    assert await note_refusals(pool, [refused]) == 0, "the refusal is older than the higher cap"
    assert await note_refusals(pool, [RefusedCap(customer_id, 0, month, 2000)]) == 1
    assert await told(pool) == [
        ("CALLS_REFUSED_CUSTOMER", None),
        ("CAP_RECOVERED_CUSTOMER", None),
        ("CALLS_REFUSED_CUSTOMER", None),
    ]


async def test_a_cap_that_was_lowered_and_raised_again_after_refusals_has_recovered(
    pool: asyncpg.Pool, month: date
) -> None:
    customer_id = await customer(pool, cap_nusd=1000)
    await note_refusals(pool, [RefusedCap(customer_id, 0, month, 1000)])
    for cap_nusd in (500, 800):
        await pool.execute("update kaixu.customer set monthly_cap_nusd = $1", cap_nusd)
        await check(pool, Cap(customer_id, 0, month))
    assert await told(pool) == [("CALLS_REFUSED_CUSTOMER", None), ("CAP_RECOVERED_CUSTOMER", None)]


async def test_a_settlement_whose_gateway_dies_is_checked_when_it_is_rolled_up(pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool, cap_nusd=1000)
    key_id, _ = await virtual_key(pool, customer_id, monthly_cap_nusd=900)
    await billed(pool, key_id, Usage(), cost=800, most=800)
    assert await told(pool) == []
    await fold_usage(pool, most=100)
    await check_noted_caps(pool, THRESHOLDS, most=100)
    assert await told(pool) == [("CAP_WARN_CUSTOMER", 50), ("CAP_WARN_KEY", 85)]
