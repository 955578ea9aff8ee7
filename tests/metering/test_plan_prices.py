"""Price factors of plans are found by every process, also by one that did not store them."""

from __future__ import annotations

from decimal import Decimal

import asyncpg

from kaixu.accounts.plans import apply_plans
from kaixu.config.plans_section import PlanSection
from kaixu.gateway.background import look_after_plans
from kaixu.metering.plan_prices import PlanPrices
from tests.support.money import customer, virtual_key


async def test_a_process_notices_the_first_factor_that_another_one_stored(pool: asyncpg.Pool) -> None:
    prices = PlanPrices(pool, {})
    await prices.refresh()
    key_id, _ = await virtual_key(pool, await customer(pool, plan_name="half"))
    await apply_plans(pool, {"half": PlanSection(price_factor=Decimal("0.5"))})
    await look_after_plans(pool, prices)
    assert await prices.factor_of((key_id, None, None)) == 500_000
