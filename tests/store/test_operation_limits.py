"""take_operation_limits: the rates of an operation and its calls at once, decided under the customer's lock."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import asyncpg
import pytest

from kaixu.store.operation_limits import OperationDecision, take_operation_limits
from tests.support.calls import admit
from tests.support.money import customer, virtual_key

ADMITTED = OperationDecision(None, None, None)


async def take(
    pool: asyncpg.Pool, customer_id: int, *, ticket: UUID | None = None, at_once: int | None = None,
    most: tuple[int, ...] = (), per_s: tuple[int, ...] = (), chain_ids: tuple[int, ...] = (), operation: str = "a.b",
) -> OperationDecision:  # fmt: skip
    """One call."""
    return await take_operation_limits(
        pool, customer_id=customer_id, operation=operation, ticket=ticket, at_once=at_once, most=most, per_s=per_s,
        chain_ids=chain_ids or (0,) * len(most),
    )  # fmt: skip


async def test_of_many_calls_at_the_same_time_exactly_so_many_get_in(pool: asyncpg.Pool) -> None:
    one, other = await customer(pool), await customer(pool)
    decisions = await asyncio.gather(*(take(pool, one, most=(5, 100), per_s=(3600, 86400)) for _ in range(20)))
    assert sum(decision == ADMITTED for decision in decisions) == 5
    refused = [decision for decision in decisions if decision.refused]
    assert {(decision.refused, decision.bound) for decision in refused} == {("RATE_LIMITED", 1)}
    assert all(0 < (decision.retry_after_s or 0) <= 3660 for decision in refused)
    assert await take(pool, other, most=(5,), per_s=(3600,)) == ADMITTED
    assert await take(pool, one, most=(5,), per_s=(3600,), operation="a.c") == ADMITTED


async def test_the_first_full_rate_refuses_and_nothing_is_counted(pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool)
    tries = [await take(pool, customer_id, most=(9, 2), per_s=(60, 86400), chain_ids=(7, 0)) for _ in range(4)]
    assert [decision.bound for decision in tries] == [None, None, 2, 2]
    rows = await pool.fetch("select chain_id, (select sum(s) from unnest(counts) s) from kaixu.operation_window")
    assert {tuple(row) for row in rows} == {(7, 2), (0, 2)}


@pytest.mark.parametrize(("slots", "expected"), [(30, 1), (60, 1), (61, None), (5000, None), (-5000, None)])
async def test_a_call_counts_for_the_whole_time_of_its_rate(
    pool: asyncpg.Pool, slots: int, expected: int | None
) -> None:
    customer_id = await customer(pool)
    assert await take(pool, customer_id, most=(1,), per_s=(86400,)) == ADMITTED
    await pool.execute("update kaixu.operation_window set slot = slot - $1", slots)
    # The ring is as if it had been written then: its newest slot lies where that one's does.
    await pool.execute(
        """
        update kaixu.operation_window w
           set counts = (select array_agg(case when at = w.slot % 61 + 1 then 1 else 0 end order by at)
                           from generate_series(1, 61) at)
        """
    )
    assert (await take(pool, customer_id, most=(1,), per_s=(86400,))).bound == expected


async def test_calls_at_once_are_those_that_have_a_reservation(pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool)
    key_id, _ = await virtual_key(pool, customer_id)
    tickets = [(await admit(pool, key_id))[0].ticket for _ in range(6)]
    decisions = await asyncio.gather(*(take(pool, customer_id, ticket=one, at_once=2) for one in tickets))
    inside = [one for one, decision in zip(tickets, decisions, strict=True) if decision == ADMITTED]
    assert (len(inside), {decision.refused for decision in decisions}) == (2, {None, "TOO_MANY_AT_ONCE"})
    await pool.execute("delete from kaixu.reservation where ticket = $1", inside[0])
    late = (await admit(pool, key_id))[0].ticket
    # A call that the rate refuses takes no place.
    assert await take(pool, customer_id, most=(1,), per_s=(60,)) == ADMITTED
    assert (await take(pool, customer_id, ticket=uuid4(), at_once=2, most=(1,), per_s=(60,))).refused == "RATE_LIMITED"
    assert await take(pool, customer_id, ticket=late, at_once=2) == ADMITTED
    assert await pool.fetchval("select count(*) from kaixu.operation_call") == 2
