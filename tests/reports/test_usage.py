"""The report of a customer's month."""

from __future__ import annotations

from datetime import date

import asyncpg
import pytest

from kaixu.accounts.keys import rotate_key
from kaixu.accounts.topups import top_up
from kaixu.plugin.errors import NotFound, Unprocessable
from kaixu.plugin.types import Usage
from kaixu.reports.reconcile import reconcile
from kaixu.reports.usage import customer_usage
from tests.support.calls import admit, billed
from tests.support.money import customer, virtual_key

from .conftest import By


async def test_a_month_shows_spend_holds_and_what_is_left(pool: asyncpg.Pool, by: By) -> None:
    customer_id = await customer(pool, cap_nusd=1_000)
    key_id, _ = await virtual_key(pool, customer_id)
    await top_up(pool, customer_id, amount_cents=100, month=None, idempotency_key=None, source="manual", **by)
    ask = await billed(pool, key_id, Usage(input_tokens=1000, output_tokens=100), request_id="a")
    await admit(pool, key_id, most=500)
    usage = await customer_usage(pool, customer_id)
    cost = 196_500 + 78_600
    assert (usage.total.spent_nusd, usage.total.held_nusd, usage.total.extra_nusd) == (cost, 500, 10**9)
    assert (usage.total.vendor_cost_nusd, usage.total.calls) == (150_000 + 60_000, 1)
    assert (usage.cap_nusd, usage.available_nusd) == (10**9 + 1_000, 10**9 + 1_000 - cost - 500)
    assert [(event.ticket, event.cost_nusd, event.request_id) for event in usage.events] == [(ask.ticket, cost, "a")]


async def test_a_chain_is_shown_once_under_its_newest_key(pool: asyncpg.Pool, by: By) -> None:
    customer_id = await customer(pool)
    old, _ = await virtual_key(pool, customer_id)
    await billed(pool, old, Usage(), cost=5)
    new = await rotate_key(pool, old, pepper="p", **by)
    await billed(pool, new.row.id, Usage(), cost=6)
    usage = await customer_usage(pool, customer_id)
    assert [(key.key_id, key.key_last4, key.spent_nusd) for key in usage.keys] == [(new.row.id, new.row.key_last4, 11)]
    assert [event.key_id for event in usage.events] == [new.row.id, old]


async def test_a_month_in_which_nothing_happened_is_all_zero(pool: asyncpg.Pool) -> None:
    usage = await customer_usage(pool, await customer(pool, cap_nusd=9), {"month": "2026-01"})
    assert (usage.month, usage.cap_nusd, usage.available_nusd, usage.keys, usage.events) == (
        date(2026, 1, 1),
        9,
        9,
        [],
        [],
    )


async def test_what_is_not_a_month_or_a_customer_is_refused(pool: asyncpg.Pool) -> None:
    with pytest.raises(Unprocessable):
        await customer_usage(pool, 1, {"month": "2026-00"})
    with pytest.raises(NotFound):
        await customer_usage(pool, 1)


async def test_every_book_is_shown_and_counts_against_the_cap(pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool)
    key_id, _ = await virtual_key(pool, customer_id)
    await billed(pool, key_id, Usage(), cost=300)
    await pool.execute("update kaixu.customer set monthly_cap_nusd = 1000")
    await pool.execute("update kaixu.virtual_key set monthly_cap_nusd = 900")
    for table, whose in (("customer_month", "customer_id"), ("key_month", "chain_id")):
        more = ", customer_id" if table == "key_month" else ""
        await pool.execute(
            f"insert into kaixu.{table} ({whose}{more}, month, book, spent_nusd, held_nusd, calls) "
            f"select {whose}{more}, month, 'push', 700, 5, 2 from kaixu.{table}"
        )
    usage = await customer_usage(pool, customer_id)
    assert (usage.total.spent_nusd, usage.total.held_nusd, usage.total.calls, usage.available_nusd) == (1000, 5, 3, 0)
    assert [(one.book, one.spent_nusd, one.held_nusd) for one in usage.books] == [("ai", 300, 0), ("push", 700, 5)]
    assert [(key.spent_nusd, key.books) for key in usage.keys] == [(1000, {"ai": 300, "push": 700})]
    async with pool.acquire() as connection:
        notes = (await reconcile(connection)).notes
    assert [(one.what, one.book, one.kept, one.proven) for one in notes] == [
        ("customer", None, 1005, 1000),
        ("key chain", None, 1005, 900),
    ]
