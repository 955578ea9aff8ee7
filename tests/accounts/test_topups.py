"""A top-up raises one month, once."""

from __future__ import annotations

from datetime import UTC, date, datetime

import asyncpg
import pytest

from kaixu.accounts.topups import MOST_EXTRA_NUSD, ToppedUp, top_up
from kaixu.plugin.errors import Conflict, NotFound, Unprocessable
from tests.support.calls import admit
from tests.support.money import customer, virtual_key

from .conftest import By


async def topped(
    pool: asyncpg.Pool, customer_id: int, by: By, cents: object, month: object = None, key: object = None
) -> ToppedUp:
    """A top-up by an operator."""
    return await top_up(pool, customer_id, amount_cents=cents, month=month, idempotency_key=key, source="manual", **by)


async def test_a_topup_raises_this_month_when_none_is_given(pool: asyncpg.Pool, by: By) -> None:
    customer_id = await customer(pool, cap_nusd=0)
    key_id, _ = await virtual_key(pool, customer_id)
    assert (await admit(pool, key_id, most=1))[1].refused == "CAP_REACHED"
    done = await topped(pool, customer_id, by, 5)
    assert (done.month, done.extra_nusd, done.applied) == (datetime.now(UTC).date().replace(day=1), 50_000_000, True)
    assert (await admit(pool, key_id, most=50_000_000))[1].refused is None
    [row] = await pool.fetch("select action, target, before, after from kaixu.audit_event")
    month = str(done.month)
    assert tuple(row) == (
        "TOPUP_MANUAL",
        f"customer:{customer_id}",
        {"month": month, "extra_nusd": 0},
        {"month": month, "extra_nusd": 50_000_000},
    )


async def test_the_same_key_tops_up_once_and_no_key_each_time(pool: asyncpg.Pool, by: By) -> None:
    customer_id = await customer(pool)
    first = await topped(pool, customer_id, by, 5, "2026-02", "order 1")
    again = await topped(pool, customer_id, by, "5", "2026-02", "order 1")
    assert (first.applied, again.applied, again.extra_nusd) == (True, False, 50_000_000)
    await topped(pool, customer_id, by, 5, "2026-02")
    last = await topped(pool, customer_id, by, 5, "2026-02")
    assert (last.extra_nusd, last.month) == (150_000_000, date(2026, 2, 1))
    assert await pool.fetchval("select count(*) from kaixu.audit_event") == 3


async def test_a_key_that_was_used_for_another_topup_is_a_conflict(pool: asyncpg.Pool, by: By) -> None:
    customer_id, other = await customer(pool), await customer(pool)
    await topped(pool, customer_id, by, 5, "2026-02", "order 1")
    for changed in ((customer_id, 6, "2026-02"), (customer_id, 5, "2026-03"), (other, 5, "2026-02"), (other, 5, None)):
        with pytest.raises(Conflict):
            await topped(pool, changed[0], by, changed[1], changed[2], "order 1")
    assert await pool.fetchval("select sum(extra_nusd)::bigint from kaixu.customer_month") == 50_000_000


@pytest.mark.parametrize("cents", [0, -5, None, "", 1.5, "many", 10**12])
async def test_a_topup_is_of_a_cent_or_more(pool: asyncpg.Pool, by: By, cents: object) -> None:
    with pytest.raises(Unprocessable):
        await topped(pool, await customer(pool), by, cents)


async def test_an_unknown_customer_is_not_topped_up(pool: asyncpg.Pool, by: By) -> None:
    with pytest.raises(NotFound):
        await topped(pool, 99, by, 5)


async def test_a_month_s_topups_have_a_bound_and_beyond_it_nothing_is_booked(pool: asyncpg.Pool, by: By) -> None:
    customer_id = await customer(pool)
    await pool.execute(
        """
        insert into kaixu.customer_month (customer_id, month, extra_nusd)
        values ($1, date_trunc('month', now() at time zone 'UTC')::date, $2)
        """,
        customer_id,
        MOST_EXTRA_NUSD,
    )
    with pytest.raises(Unprocessable, match="at most"):
        await topped(pool, customer_id, by, 1)
    assert await pool.fetchval("select count(*) from kaixu.topup") == 0
    assert await pool.fetchval("select extra_nusd from kaixu.customer_month") == MOST_EXTRA_NUSD
