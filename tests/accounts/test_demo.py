"""Demo data adds up, is the same for the same seed, continues after an interruption, and is removed exactly."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from kaixu.accounts import demo as rules
from kaixu.accounts.demo import Demo, seed_demo, unseed_demo
from kaixu.invoices.issue import finalize
from kaixu.plugin.errors import Conflict, NotFound, Unprocessable
from kaixu.plugin.types import Usage
from kaixu.reports.reconcile import reconcile
from tests.invoices.books import SECTION, bill_to
from tests.support.calls import billed
from tests.support.money import customer, virtual_key
from tests.support.rollups import assert_folded_rollups_agree, assert_rollups_agree
from tests.support.size import size

TABLES = (
    "customer", "virtual_key", "device", "customer_month", "key_month", "usage_event", "usage_series", "usage_quarter",
    "usage_day", "app_month", "end_user_month", "topup", "audit_event", "gateway_event", "refusal_quarter", "price", "demo",
)  # fmt: skip


async def made(pool: asyncpg.Pool, *, customers: int = 200, events: int = 5000, **fields: Any) -> Demo:
    """Demo data."""
    return await seed_demo(
        pool, customers=customers, events=events, **{"seed": 1, "force": False, "progress": lambda _: None, **fields}
    )


async def counts(pool: asyncpg.Pool) -> dict[str, int]:
    """The rows of each table."""
    return {table: await pool.fetchval(f"select count(*) from kaixu.{table}") for table in TABLES}


async def figures(pool: asyncpg.Pool) -> list[tuple[Any, ...]]:
    """What the events say, without what the database numbers itself."""
    rows = await pool.fetch(
        """
        select ticket, month, customer_id, key_id, chain_id, model, cost_nusd, input_tokens, output_tokens, end_reason,
               app_id, end_user, admitted_at, duration_ms
          from kaixu.usage_event
         order by ticket
        """
    )
    return [tuple(row) for row in rows]


async def test_everything_adds_up(pool: asyncpg.Pool) -> None:
    customers, events = size(300, 1000), size(8_000, 50_000)
    demo = await made(pool, customers=customers, events=events)
    rows = await counts(pool)
    assert (rows["customer"], rows["usage_event"]) == (customers, events)
    assert all(rows.values()), rows
    async with pool.acquire() as connection:
        result = await reconcile(connection)
    assert (result.differences, result.notes, result.not_recomputable) == ([], [], [])
    assert await pool.fetchval("select count(distinct month) from kaixu.usage_event") == 13
    assert await pool.fetchval("select count(*) from kaixu.usage_event_other") == 0
    assert await pool.fetchval("select max(admitted_at) from kaixu.usage_event") < demo.until
    assert await pool.fetchval(
        "select bool_and(month = date_trunc('month', admitted_at at time zone 'UTC')) from kaixu.usage_event"
    )
    assert await pool.fetchval("select bool_and(email like '%@demo.invalid') from kaixu.customer")
    assert await pool.fetchval(
        "select bool_and(c.created_at <= e.admitted_at) from kaixu.usage_event e join kaixu.customer c on c.id = e.customer_id"
    )


async def test_rollups_say_what_the_events_say(pool: asyncpg.Pool) -> None:
    await made(pool)
    await assert_rollups_agree(pool)
    await assert_folded_rollups_agree(pool)


async def test_the_same_seed_makes_the_same_data(pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    first = await made(pool)
    before = await figures(pool)
    await unseed_demo(pool)
    # Ids go on; all else is the same.
    again = await made(pool)
    moved = again.first_customer - first.first_customer
    after = await figures(pool)
    assert [(*row[:2], row[2] + moved, *row[5:]) for row in before] == [(*row[:3], *row[5:]) for row in after]
    await unseed_demo(pool)
    await made(pool, seed=2)
    assert [row[6] for row in await figures(pool)] != [row[6] for row in after]


async def test_removing_it_leaves_the_rest_as_it_was(pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool)
    key_id, _ = await virtual_key(pool, customer_id)
    await billed(pool, key_id, Usage(input_tokens=7))
    before = await counts(pool)
    with pytest.raises(Conflict, match="1 customers"):
        await made(pool)
    assert await counts(pool) == before
    demo = await made(pool, force=True)
    of_demo, _ = await virtual_key(pool, demo.first_customer)  # an operator's own key
    await billed(pool, of_demo, Usage(input_tokens=1), install_id="phone")
    await billed(pool, key_id, Usage(input_tokens=8))
    await assert_folded_rollups_agree(pool)
    removed = await unseed_demo(pool)
    assert removed["customer"] == 200
    rows = await counts(pool)
    assert rows == {**before, "usage_event": 2, "usage_series": 2, "usage_quarter": 2, "usage_day": 2}
    await assert_folded_rollups_agree(pool)
    async with pool.acquire() as connection:
        assert (await reconcile(connection)).differences == []
    with pytest.raises(NotFound):
        await unseed_demo(pool)


async def test_issued_invoices_are_never_removed(pool: asyncpg.Pool) -> None:
    demo = await made(pool, customers=20, events=400)
    month = await pool.fetchval("select min(month) from kaixu.usage_event")
    await bill_to(pool, demo.first_customer)
    await finalize(pool, SECTION, demo.first_customer, month, actor="test", request_id="r")
    before = await counts(pool)
    with pytest.raises(Conflict, match="1 invoices"):
        await unseed_demo(pool)
    assert await counts(pool) == before


async def test_the_audit_log_is_append_only_afterwards(pool: asyncpg.Pool) -> None:
    await made(pool, customers=20, events=100)
    await pool.execute("insert into kaixu.audit_event (actor, action, target) values ('admin', 'X', 'y')")
    await unseed_demo(pool)
    await pool.execute("delete from kaixu.audit_event")
    assert await pool.fetchval("select count(*) from kaixu.audit_event") == 1


async def test_an_interrupted_run_continues(pool: asyncpg.Pool) -> None:
    class Interrupted(Exception):
        pass

    def interrupt(line: str) -> None:
        if "calls" in line:
            raise Interrupted

    for _ in range(3):
        with pytest.raises(Interrupted):
            await made(pool, progress=interrupt)
    with pytest.raises(Conflict, match="already"):
        await made(pool, events=4000)
    await made(pool)
    assert (await counts(pool))["usage_event"] == 5000
    async with pool.acquire() as connection:
        assert (await reconcile(connection)).differences == []
    await made(pool)
    assert (await counts(pool))["usage_event"] == 5000


@pytest.mark.parametrize("fields", [{"customers": 0}, {"events": 0}, {"events": 10**9}, {"seed": -1}], ids=str)
async def test_impossible_numbers_are_refused(pool: asyncpg.Pool, fields: dict[str, int]) -> None:
    with pytest.raises(Unprocessable):
        await made(pool, **fields)


async def test_one_command_at_a_time(pool: asyncpg.Pool) -> None:
    async with rules.one_at_a_time(pool):
        with pytest.raises(Conflict):
            await made(pool)
