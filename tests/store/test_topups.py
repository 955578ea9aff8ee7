"""A credit is booked once, whoever repeats it."""

from __future__ import annotations

import asyncio
from datetime import date

import asyncpg

from kaixu.store.topups import Applied, top_up, topup_of
from tests.support.money import customer

MONTH = date(2026, 5, 1)


async def test_a_topup_raises_the_month_once_for_each_key(pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool)

    async def once() -> Applied | None:
        return await top_up(
            pool, idempotency_key="k", customer_id=customer_id, month=MONTH, amount_nusd=5, source="manual"
        )

    answers = await asyncio.gather(*(once() for _ in range(10)))
    assert sorted(answer.applied for answer in answers if answer is not None) == [False] * 9 + [True]
    assert {answer.extra_nusd for answer in answers if answer is not None} == {5}
    booked = await topup_of(pool, "k")
    assert booked is not None
    assert (booked.customer_id, booked.month, booked.amount_nusd) == (customer_id, MONTH, 5)


async def test_an_unknown_customer_is_not_topped_up(pool: asyncpg.Pool) -> None:
    assert await top_up(pool, idempotency_key="k", customer_id=9, month=MONTH, amount_nusd=5, source="manual") is None
    assert await topup_of(pool, "k") is None
