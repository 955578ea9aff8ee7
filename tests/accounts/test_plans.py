"""Plans are templates: a customer's own value wins, what is cleared is the plan's again, a change reaches everybody."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from kaixu.accounts.customer_list import customer_page
from kaixu.accounts.customers import Customer, change_customer, create_customer
from kaixu.accounts.keys import change_key, create_key, rotate_key
from kaixu.accounts.plans import apply_plans, find_plan, finish_plans, list_plans, plan_json
from kaixu.config.plans_section import PlanSection
from kaixu.plugin.errors import NotFound
from kaixu.store.plans import has_factors, write_plans
from tests.support.calls import admit
from tests.support.money import customer as older_customer

from .conftest import By

DEFAULT_CAP = 5 * 10**9
STARTER = PlanSection(cap=Decimal("20.00"), rpm=10, rpd=2000, devices=3, providers=["*"])
PRO = PlanSection(cap=Decimal(200), devices=50, models={"UP": ["m"]}, price_factor=Decimal("0.9"))


async def made(pool: asyncpg.Pool, by: By, **fields: Any) -> Customer:
    """A customer."""
    fields = {
        "email": f"{len(fields)}-{await pool.fetchval('select count(*) from kaixu.customer')}@example.com"
    } | fields
    return await create_customer(pool, fields, default_cap_nusd=DEFAULT_CAP, **by)


async def changed(pool: asyncpg.Pool, customer_id: int, by: By, **fields: Any) -> Customer:
    """A customer after a change."""
    return await change_customer(pool, customer_id, fields, **by)


async def test_a_new_customer_has_what_its_plan_says(pool: asyncpg.Pool, by: By) -> None:
    await apply_plans(pool, {"starter": STARTER})
    row = await made(pool, by)
    assert (row.monthly_cap_nusd, row.max_devices_per_key, row.allowed_providers) == (20 * 10**9, 3, ["*"])
    assert row.from_plan == ["monthly_cap_nusd", "max_devices_per_key", "allowed_providers"]
    key = (await create_key(pool, row.id, {}, pepper="p", **by)).row
    assert (key.rpm_limit, key.rpd_limit, key.from_plan) == (10, 2000, ["rpm_limit", "rpd_limit"])


async def test_a_plan_that_the_file_does_not_have_is_a_label(pool: asyncpg.Pool, by: By) -> None:
    await apply_plans(pool, {"starter": STARTER})
    row = await made(pool, by, plan_name="enterprise")
    assert (row.plan_name, row.monthly_cap_nusd, row.max_devices_per_key) == ("enterprise", DEFAULT_CAP, None)
    assert row.plan_version_id is None


async def test_the_customer_s_own_value_wins_and_what_is_cleared_is_the_plan_s_again(
    pool: asyncpg.Pool, by: By
) -> None:
    await apply_plans(pool, {"starter": STARTER})
    row = await made(pool, by, monthly_cap_cents=100, max_devices_per_key=0)
    assert (row.monthly_cap_nusd, row.max_devices_per_key) == (10**9, 0)
    await apply_plans(pool, {"starter": STARTER.model_copy(update={"cap": Decimal(30), "devices": 4})})
    [listed] = (await customer_page(pool, {})).customers
    assert (listed.monthly_cap_nusd, listed.max_devices_per_key) == (10**9, 0)
    assert listed.deviations == ["max_devices_per_key", "monthly_cap_nusd"]

    row = await changed(pool, row.id, by, monthly_cap_cents=None)
    assert row.monthly_cap_nusd == 10**9, "null leaves a cap as it is"
    row = await changed(pool, row.id, by, monthly_cap_cents="plan", max_devices_per_key=None)
    assert (row.monthly_cap_nusd, row.max_devices_per_key) == (30 * 10**9, 4)
    [listed] = (await customer_page(pool, {})).customers
    assert listed.deviations == []


async def test_a_form_that_sends_what_it_was_shown_pins_nothing(pool: asyncpg.Pool, by: By) -> None:
    await apply_plans(pool, {"starter": STARTER, "pro": PRO})
    row = await made(pool, by)
    await changed(
        pool, row.id, by, plan_name="pro", monthly_cap_cents=2000, max_devices_per_key=3, allowed_providers="*"
    )
    row = await changed(pool, row.id, by, is_active=True, monthly_cap_cents=20_000)
    assert (row.monthly_cap_nusd, row.max_devices_per_key, row.allowed_providers) == (200 * 10**9, 50, None)
    assert row.allowed_models == {"up": ["m"]}
    assert row.price_factor_millionths == 900_000


async def test_leaving_a_plan_takes_its_values_along(pool: asyncpg.Pool, by: By) -> None:
    await apply_plans(pool, {"pro": PRO})
    row = await made(pool, by, plan_name="pro")
    row = await changed(pool, row.id, by, plan_name="a label")
    assert (row.max_devices_per_key, row.allowed_models, row.price_factor_millionths) == (None, None, 1_000_000)
    assert row.monthly_cap_nusd == 200 * 10**9, "there is always a cap: it stays until another one is set"


async def test_a_change_of_the_file_reaches_customers_and_keys_that_do_not_deviate(pool: asyncpg.Pool, by: By) -> None:
    await apply_plans(pool, {"starter": STARTER})
    one, other = await made(pool, by), await made(pool, by)
    plain = (await create_key(pool, one.id, {}, pepper="p", **by)).row
    own = (await create_key(pool, other.id, {"rpm_limit": 7}, pepper="p", **by)).row
    rotated = (await rotate_key(pool, plain.id, pepper="p", **by)).row
    assert rotated.from_plan == plain.from_plan
    assert await apply_plans(pool, {"starter": STARTER}) == []
    changed_plan = STARTER.model_copy(update={"rpm": 20, "rpd": None, "cap": Decimal(40)})
    assert await apply_plans(pool, {"starter": changed_plan}) == ["starter"]
    rows = await pool.fetch("select id, rpm_limit, rpd_limit from kaixu.virtual_key order by id")
    assert [tuple(row) for row in rows] == [(plain.id, 20, None), (own.id, 7, None), (rotated.id, 20, None)]
    assert await pool.fetchval("select sum(monthly_cap_nusd)::bigint from kaixu.customer") == 80 * 10**9
    back = await change_key(pool, own.id, {"rpm_limit": None}, **by)
    assert back.rpm_limit == 20
    audited = await pool.fetch(
        "select before ->> 'rpm_limit', after ->> 'rpm_limit' from kaixu.audit_event where action = 'PLAN_CHANGE' order by id"
    )
    assert [tuple(row) for row in audited] == [(None, "10"), ("10", "20")]
    assert [one.settings["rpm_limit"] for one in (await find_plan(pool, "starter")).versions if one.settings] == [
        20,
        10,
    ]


async def test_a_plan_that_leaves_the_file_goes_on_for_those_who_have_it(pool: asyncpg.Pool, by: By) -> None:
    await apply_plans(pool, {"starter": STARTER})
    row = await made(pool, by)
    await apply_plans(pool, {"startr": STARTER})
    kept = await changed(pool, row.id, by, max_devices_per_key=None, is_active=False)
    assert (kept.max_devices_per_key, kept.plan_version_id) == (3, row.plan_version_id)
    fresh = await made(pool, by, plan_name="starter")
    assert (fresh.max_devices_per_key, fresh.plan_version_id) == (None, None)
    listed = {plan["name"]: plan for plan in map(plan_json, await list_plans(pool))}
    assert (listed["starter"]["in_file"], listed["starter"]["customers"], listed["startr"]["in_file"]) == (
        False,
        2,
        True,
    )
    await apply_plans(pool, {"starter": PRO})
    assert await pool.fetchval("select count(*) from kaixu.customer where max_devices_per_key = 50") == 2


async def test_customers_from_before_keep_their_cap_and_get_what_they_had_not_set(pool: asyncpg.Pool) -> None:
    await older_customer(pool, cap_nusd=7)
    await apply_plans(pool, {"starter": STARTER})
    row = await pool.fetchrow("select monthly_cap_nusd, max_devices_per_key from kaixu.customer")
    assert row is not None
    assert tuple(row) == (7, 3)


async def test_admission_decides_by_the_plan(pool: asyncpg.Pool, by: By) -> None:
    await apply_plans(pool, {"starter": STARTER})
    row = await made(pool, by)
    key = (await create_key(pool, row.id, {}, pepper="p", **by)).row
    for number in range(3):
        assert (await admit(pool, key.id, most=1, install_id=f"device-{number}"))[1].refused is None
    assert (await admit(pool, key.id, most=1, install_id="device-3"))[1].refused == "SEATS_FULL"
    assert (await admit(pool, key.id, most=21 * 10**9, install_id="device-0"))[1].refused == "CAP_REACHED"
    await apply_plans(pool, {"starter": STARTER.model_copy(update={"rpm": 3})})
    assert (await admit(pool, key.id, most=1, install_id="device-0"))[1].refused == "RATE_LIMITED"


async def test_an_interrupted_change_is_finished_by_the_next_one(pool: asyncpg.Pool, by: By) -> None:
    await apply_plans(pool, {"starter": STARTER})
    for _ in range(5):
        await made(pool, by)
    await write_plans(pool, {"starter": STARTER.model_copy(update={"devices": 9}).settings()})  # and then killed
    assert (await list_plans(pool))[0].outdated == 5
    assert await finish_plans(pool) == 5
    assert await pool.fetchval("select count(*) from kaixu.customer where max_devices_per_key = 9") == 5


async def test_changes_of_customers_and_of_the_file_at_once_leave_nobody_behind(pool: asyncpg.Pool, by: By) -> None:
    await apply_plans(pool, {"starter": STARTER})
    rows = [await made(pool, by, plan_name="starter" if at % 2 else "other") for at in range(12)]

    async def file_changes() -> None:
        for devices in range(10, 20):
            await apply_plans(pool, {"starter": STARTER.model_copy(update={"devices": devices})})

    async def customers_change() -> None:
        for row in rows:
            await changed(pool, row.id, by, plan_name="starter")
            await create_key(pool, row.id, {}, pepper="p", **by)

    await asyncio.gather(file_changes(), file_changes(), customers_change())
    newest = await pool.fetchval("select max(id) from kaixu.plan_version")
    devices = await pool.fetchval(
        "select settings -> 'max_devices_per_key' from kaixu.plan_version where id = $1", newest
    )
    found = await pool.fetch("select distinct plan_version_id, max_devices_per_key from kaixu.customer")
    assert [tuple(row) for row in found] == [(newest, devices)]


async def test_factors_are_looked_for_only_where_there_are_some(pool: asyncpg.Pool, by: By) -> None:
    await apply_plans(pool, {"starter": STARTER})
    assert not await has_factors(pool)
    await apply_plans(pool, {"starter": STARTER, "pro": PRO})
    assert await has_factors(pool)
    row = await made(pool, by, plan_name="pro")
    await apply_plans(pool, {"starter": STARTER})
    assert await has_factors(pool), f"customer {row.id} still has one"


async def test_a_plan_that_is_only_a_label_cannot_be_shown(pool: asyncpg.Pool) -> None:
    with pytest.raises(NotFound, match="no plan"):
        await find_plan(pool, "enterprise")


async def test_a_customer_that_is_locked_holds_up_neither_a_start_nor_the_others_for_long(
    pool: asyncpg.Pool, by: By
) -> None:
    await apply_plans(pool, {"starter": STARTER})
    rows = [await made(pool, by) for _ in range(3)]
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("select from kaixu.customer where id = $1 for no key update", rows[0].id)
        assert await apply_plans(pool, {"starter": STARTER.model_copy(update={"devices": 8})}) == ["starter"]
    assert await finish_plans(pool) == 3
    assert await pool.fetchval("select count(*) from kaixu.customer where max_devices_per_key = 8") == 3


async def test_a_plan_limits_tokens_a_minute_and_the_day(pool: asyncpg.Pool, by: By) -> None:
    await apply_plans(pool, {"starter": STARTER.model_copy(update={"tpm": 5000, "day_cap": Decimal("1.50")})})
    row, own = await made(pool, by), await made(pool, by, tpm_limit=7, day_cap_cents=1)
    assert (row.tpm_limit, row.day_cap_nusd) == (5000, 1_500_000_000)
    assert {"tpm_limit", "day_cap_nusd"} <= {*row.from_plan}
    await apply_plans(pool, {"starter": STARTER.model_copy(update={"tpm": 6000})})
    [first, second] = await pool.fetch("select tpm_limit, day_cap_nusd from kaixu.customer order by id")
    assert tuple(first) == (6000, None)
    assert tuple(second) == (7, 10_000_000)
    own = await changed(pool, own.id, by, tpm_limit=None)
    assert own.tpm_limit == 6000
