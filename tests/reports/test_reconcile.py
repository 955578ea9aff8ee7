"""Reconcile reports no differences for consistent books, and every changed figure."""

from __future__ import annotations

from datetime import date

import asyncpg
import pytest

from kaixu.accounts.topups import top_up
from kaixu.plugin.types import Usage
from kaixu.reports.reconcile import Reconciled, reconcile
from kaixu.store import admission
from kaixu.store.plugin_credits import GatheredCredits, balance_of
from kaixu.store.rights import Rights
from kaixu.store.rollups import fold_usage
from tests.support.calls import admit, billed, settle
from tests.support.money import customer, virtual_key

from .conftest import By


async def busy(pool: asyncpg.Pool, by: By) -> int:
    """A customer of whom everything is known: calls that ended in every way, one in flight, a top-up."""
    customer_id = await customer(pool)
    for _ in range(2):
        key_id, _ = await virtual_key(pool, customer_id)
        await billed(
            pool, key_id, Usage(input_tokens=100, output_tokens=10, cached_input_tokens=30, reasoning_tokens=4)
        )
        await billed(
            pool, key_id, Usage(input_tokens=100), end_reason="client_gone", usage_source="counted", cost=3, most=3
        )
        await billed(pool, key_id, Usage(), end_reason="released", cost=0)
        await admit(pool, key_id, most=500)
        ask, _ = await admit(pool, key_id, most=700)
        await pool.execute(
            "update kaixu.reservation set expires_at = now() - interval '1 s' where ticket = $1", ask.ticket
        )
        assert len(await admission.expire(pool, charge=True)) == 1
    await top_up(pool, customer_id, amount_cents=5, month="2026-02", idempotency_key=None, source="manual", **by)
    return customer_id


async def reconciled(pool: asyncpg.Pool) -> Reconciled:
    """What does not add up."""
    async with pool.acquire() as connection:
        return await reconcile(connection)


async def test_books_that_add_up_are_proven(pool: asyncpg.Pool, by: By) -> None:
    await busy(pool, by)
    result = await reconciled(pool)
    assert (result.differences, result.notes) == ([], [])
    assert (result.customers, result.months, result.events, result.reservations) == (1, 2, 6, 2)


async def test_an_empty_database_adds_up(pool: asyncpg.Pool) -> None:
    assert (await reconciled(pool)).differences == []


@pytest.mark.parametrize(
    ("tamper", "first"),
    [
        ("update kaixu.customer_month set spent_nusd = spent_nusd + 1 where calls > 0", ("customer", "spent_nusd")),
        ("update kaixu.customer_month set calls = calls + 1 where calls > 0", ("customer", "calls")),
        ("update kaixu.customer_month set vendor_cost_nusd = 0", ("customer", "vendor_cost_nusd")),
        ("update kaixu.customer_month set extra_nusd = 0", ("customer", "extra_nusd")),
        ("update kaixu.customer_month set held_nusd = 0", ("customer", "held_nusd")),
        ("delete from kaixu.reservation", ("customer", "held_nusd")),
        ("delete from kaixu.topup", ("customer", "extra_nusd")),
        ("delete from kaixu.customer_month where month = '2026-02-01'", ("customer", "calls")),
        ("delete from kaixu.key_month", ("customer", "held_nusd of its keys")),
        ("update kaixu.key_month set output_tokens = 0 where chain_id = 1", ("key chain", "output_tokens")),
        (
            "delete from kaixu.usage_event where end_reason = 'complete' and chain_id = 1",
            ("customer", "calls"),
        ),
        (
            "update kaixu.price set rates = rates || '{\"input\": 1}'",
            ("event", "cost_nusd"),
        ),
        ("delete from kaixu.price", ("event", "cost_nusd")),
        (
            "update kaixu.reservation set ticket = (select min(ticket::text)::uuid from kaixu.usage_event)"
            " where ticket = (select min(ticket::text)::uuid from kaixu.reservation)",
            ("event", "reservations of its ticket"),
        ),
        ("update kaixu.usage_event set key_id = 99 where chain_id = 1", ("event", "customer of its key")),
    ],
)
async def test_changed_figures_are_differences(pool: asyncpg.Pool, by: By, tamper: str, first: tuple[str, str]) -> None:
    await busy(pool, by)
    await pool.execute(tamper)
    differences = (await reconciled(pool)).differences
    assert differences
    assert (differences[0].what, differences[0].figure) == first
    assert differences[0].kept != differences[0].proven


async def test_a_lowered_cap_is_a_note_and_no_mistake(pool: asyncpg.Pool, by: By) -> None:
    customer_id = await busy(pool, by)
    await pool.execute("update kaixu.customer set monthly_cap_nusd = 1 where id = $1", customer_id)
    result = await reconciled(pool)
    assert result.differences == []
    assert [(note.id, note.proven) for note in result.notes] == [(customer_id, 1)]


async def test_who_owes_credit_has_not_passed_the_cap(pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool, cap_nusd=100)
    key_id, _ = await virtual_key(pool, customer_id)
    rights = Rights("shop", None, None, frozenset({"credit", "customers"}), "r")

    async def credit(amount_nusd: int, key: str) -> None:
        gathered = GatheredCredits(rights)
        gathered.add(customer_id, amount_nusd, key=key, month=None, source=None, reference=None)
        async with pool.acquire() as connection, connection.transaction():
            await gathered.book(connection)

    await credit(50, "paid")
    await billed(pool, key_id, Usage(), cost=140, most=140)
    await credit(-50, "disputed")
    assert (await reconciled(pool)).notes == []
    assert (await balance_of(pool, customer_id)).debt_nusd == 40
    # What was really spent beyond cap and credit is still told.
    await pool.execute("update kaixu.customer set monthly_cap_nusd = 89 where id = $1", customer_id)
    assert [(one.id, one.kept, one.proven) for one in (await reconciled(pool)).notes] == [(customer_id, 140, 139)]


async def test_one_month_can_be_proven_alone(pool: asyncpg.Pool, by: By) -> None:
    await busy(pool, by)
    await pool.execute("update kaixu.customer_month set spent_nusd = spent_nusd + 1 where calls > 0")
    async with pool.acquire() as connection:
        assert (await reconcile(connection, month=date(2026, 2, 1))).differences == []


@pytest.mark.parametrize(
    ("tamper", "what"),
    [
        ("update kaixu.usage_change set spent_nusd = spent_nusd + 1", "roll-ups of key chain"),
        (
            "delete from kaixu.usage_change where ctid = (select min(ctid) from kaixu.usage_change)",
            "roll-ups of key chain",
        ),
        (
            "update kaixu.usage_quarter set calls = calls + 1 where series_id in"
            " (select id from kaixu.usage_series where customer_id = 0)",
            "roll-ups of all customers",
        ),
        ("update kaixu.usage_day set latency[3] = latency[3] + 1", "days of series"),
        ("delete from kaixu.usage_day", "days of series"),
        ("update kaixu.app_month set vendor_cost_nusd = 1", "apps of customer"),
        ("delete from kaixu.app_month", "apps of customer"),
        ("update kaixu.end_user_month set held_nusd = held_nusd + 1", "an end user of customer"),
        ("update kaixu.end_user_month set calls = 0", "an end user of customer"),
    ],
)
@pytest.mark.parametrize("by_month", [False, True], ids=["all", "month"])
async def test_changed_figures_of_reports_are_differences(
    pool: asyncpg.Pool, by: By, tamper: str, what: str, by_month: bool
) -> None:
    await busy(pool, by)
    key_id, _ = await virtual_key(pool, await customer(pool))
    for _ in range(2):
        ask, verdict = await admit(pool, key_id, app_id="shop", end_user="ada")
        await settle(pool, ask, verdict, Usage(3, 4), cost=0, usage_source="counted")
    month = verdict.month if by_month else None

    async def differences() -> set[str]:
        async with pool.acquire() as connection:
            found = (await reconcile(connection, month=month)).differences
        return {one.what for one in found if one.figure != "cost_nusd"}

    assert await differences() == set()
    await fold_usage(pool, most=2)
    assert await differences() == set()
    await pool.execute(tamper)
    # A total that was changed has days that do not agree with it, too.
    assert await differences() - {"days of series"} == {what} - {"days of series"}
    assert what in await differences()
