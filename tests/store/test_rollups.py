"""Roll-ups of usage: exact at any moment, whatever is interrupted, and whoever works at the same time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from kaixu.plugin.types import Usage
from kaixu.store import admission
from kaixu.store.rollups import fill_usage, fold_usage, rollup_state, set_reporting_zone
from tests.support.calls import admit, billed, settle
from tests.support.money import assert_books_balance, customer, spent_and_held, virtual_key
from tests.support.rollups import assert_folded_rollups_agree, assert_rollups_agree, fill_in

USAGE = Usage(input_tokens=30, output_tokens=7, cached_input_tokens=10, cache_write_tokens=2, reasoning_tokens=3)


@pytest.fixture
async def key_id(pool: asyncpg.Pool) -> int:
    """A key without limits."""
    return (await virtual_key(pool, await customer(pool)))[0]


async def lost(pool: asyncpg.Pool, key_id: int, *, charge: bool, **tags: Any) -> tuple[Any, Any]:
    """A call whose gateway died."""
    ask, verdict = await admit(pool, key_id, most=500, **tags)
    await pool.execute("update kaixu.reservation set expires_at = now() - interval '1 s' where ticket = $1", ask.ticket)
    assert len(await admission.expire(pool, charge=charge)) == 1
    return ask, verdict


async def as_last_release(pool: asyncpg.Pool) -> None:
    """Make everything that is there look as if a gateway of the last release had written it before the migration."""
    await pool.execute("update kaixu.usage_event set rolled_up = null")
    await pool.execute("truncate kaixu.usage_change, kaixu.usage_series, kaixu.usage_quarter, kaixu.usage_day")
    await pool.execute(
        """
        update kaixu.rollup_state
           set next_id = 0, end_id = (select max(id) + 1 from kaixu.usage_event), fill_began_at = null, filled_at = null
        """
    )


@pytest.mark.parametrize(
    ("ms", "latency_class"),
    [(0, 0), (10, 0), (11, 1), (14, 1), (15, 2), (20, 2), (21, 3), (320, 10), (321, 11), (327_680, 30), (327_681, 31), (2**31 - 1, 31)],
)  # fmt: skip
async def test_latencies_have_two_classes_for_each_doubling(pool: asyncpg.Pool, ms: int, latency_class: int) -> None:
    assert await pool.fetchval("select kaixu.latency_class($1)", ms) == latency_class
    assert ms**2 <= 100 * 2**latency_class or latency_class == 31
    assert latency_class == 0 or ms**2 > 100 * 2 ** (latency_class - 1)


@pytest.mark.parametrize(
    ("admitted_at", "bucket"),
    [
        ("2026-11-15 10:29:59.999+00", "2026-11-15 10:15:00+00"),
        ("2026-11-15 10:30:00+00", "2026-11-15 10:30:00+00"),
        ("2026-10-31 23:59:59+00", "2026-11-01 00:00:00+00"),
        ("2026-12-01 00:00:01+00", "2026-11-30 23:45:00+00"),
        ("2026-11-01 01:10:00+02", "2026-11-01 00:00:00+00"),
    ],
    ids=["end", "beginning", "the gateway's clock is behind", "the gateway's clock is ahead", "another zone"],
)
async def test_a_call_lies_in_a_quarter_of_an_hour_of_its_month(
    pool: asyncpg.Pool, admitted_at: str, bucket: str
) -> None:
    assert await pool.fetchval(
        "select kaixu.usage_bucket($1::text::timestamptz, '2026-11-01') = $2::text::timestamptz", admitted_at, bucket
    )


async def test_calls_that_end_in_every_way_are_in_the_roll_ups_once(pool: asyncpg.Pool, key_id: int) -> None:
    await billed(pool, key_id, USAGE)
    await billed(pool, key_id, USAGE, units={"call": {"tries": 1, "deployment": "east"}})
    await billed(pool, key_id, USAGE, end_reason="client_gone", usage_source="counted")
    await billed(pool, key_id, Usage(), end_reason="released", cost=0)
    ask, verdict = await lost(pool, key_id, charge=True, app_id="shop", end_user="ada")
    await assert_rollups_agree(pool)
    await fold_usage(pool, most=1000)
    await settle(pool, ask, verdict, USAGE, cost=400, units={"call": {"deployment": "west"}})
    await settle(pool, ask, verdict, USAGE, cost=400)
    forgiven = await lost(pool, key_id, charge=True, app_id="shop")
    await settle(pool, *forgiven, Usage(), cost=0, end_reason="released")
    await assert_folded_rollups_agree(pool)
    rows = await pool.fetch(
        """
        select s.deployment, sum(q.calls) as calls, sum(q.errors) as errors, sum(q.spent_nusd) as spent
          from kaixu.usage_day q join kaixu.usage_series s on s.id = q.series_id
         where s.customer_id = 0 group by 1 order by 1
        """
    )
    assert [(row["deployment"], row["calls"], row["errors"]) for row in rows] == [
        ("", 3, 2),
        ("east", 1, 0),
        ("west", 1, 0),
    ]
    assert rows[2]["spent"] == 400
    await assert_books_balance(pool)


async def test_gateways_of_the_last_release_write_roll_ups_too(pool: asyncpg.Pool, key_id: int) -> None:
    ask, verdict = await admit(pool, key_id)
    await pool.execute(
        """
        select kaixu.settle(
            p_ticket => array[$1::uuid], p_customer_id => array[$2::bigint], p_key_id => array[$3::bigint],
            p_chain_id => array[$3::bigint], p_month => array[$4::date], p_book => '{ai}', p_operation => '{chat}',
            p_provider => '{up}', p_model => '{m}', p_price_id => '{1}', p_install_id => array[null::text],
            p_request_id => '{r}', p_admitted_at => array[now()], p_duration_ms => '{9}', p_end_reason => '{complete}',
            p_usage_source => '{provider}', p_cost_nusd => '{70}', p_vendor_cost_nusd => '{50}', p_input_tokens => '{1}',
            p_output_tokens => '{2}', p_cached_input_tokens => '{0}', p_cache_write_tokens => '{0}',
            p_reasoning_tokens => '{0}', p_units => array[null::jsonb])
        """,
        ask.ticket,
        verdict.customer_id,
        key_id,
        verdict.month,
    )
    assert await pool.fetchval("select spent_nusd from kaixu.usage_change") == 70
    await assert_folded_rollups_agree(pool)


async def test_a_fold_that_is_broken_off_changes_nothing(pool: asyncpg.Pool, key_id: int) -> None:
    for _ in range(5):
        await billed(pool, key_id, USAGE)
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        assert await fold_usage(connection, most=3) == 3
        await transaction.rollback()
    assert await pool.fetchval("select count(*) from kaixu.usage_change") == 5
    await assert_folded_rollups_agree(pool)


async def test_a_running_fold_keeps_no_call_waiting_and_no_reader_sees_a_call_twice(
    pool: asyncpg.Pool, key_id: int
) -> None:
    await billed(pool, key_id, USAGE)
    async with pool.acquire() as folding, folding.transaction():
        assert await fold_usage(folding, most=100) == 1
        await billed(pool, key_id, USAGE)
        assert await fold_usage(pool, most=100) is None
        await assert_rollups_agree(pool)
    await assert_folded_rollups_agree(pool)


async def test_a_fold_waits_for_no_customer(pool: asyncpg.Pool, key_id: int) -> None:
    await billed(pool, key_id, USAGE)
    async with pool.acquire() as other, other.transaction():
        await other.execute("select from kaixu.customer for update")
        assert await asyncio.wait_for(fold_usage(pool, most=100), 5) == 1


async def test_folds_and_settlements_at_the_same_time_lose_nothing(pool: asyncpg.Pool) -> None:
    keys = [(await virtual_key(pool, await customer(pool)))[0] for _ in range(3)]

    async def call(at: int) -> None:
        await billed(pool, keys[at % 3], USAGE, cost=at, request_id=str(at))

    async def fold() -> None:
        for _ in range(10):
            await fold_usage(pool, most=4)
            await assert_rollups_agree(pool)

    await asyncio.gather(*(call(at) for at in range(60)), fold(), fold())
    await assert_folded_rollups_agree(pool)
    await assert_books_balance(pool)


async def test_days_are_those_of_the_reporting_zone_and_change_with_it(pool: asyncpg.Pool, key_id: int) -> None:
    month = (await admit(pool, key_id))[1].month
    evening = datetime(month.year, month.month, 10, 22, 40, tzinfo=UTC)
    for at in (evening, evening + timedelta(hours=1), evening + timedelta(hours=2)):
        ask, verdict = await admit(pool, key_id)
        await settle(pool, ask, verdict, USAGE, cost=5, admitted_at=at)

    async def days() -> list[tuple[int, int]]:
        rows = await pool.fetch(
            """
            select extract(day from d.day)::integer, d.calls from kaixu.usage_day d
              join kaixu.usage_series s on s.id = d.series_id where s.customer_id = 0 order by 1
            """
        )
        return [tuple(row) for row in rows]

    await fold_usage(pool, most=2)
    assert sum(calls for _, calls in await days()) == 2
    assert await set_reporting_zone(pool, "Asia/Kathmandu") is True
    assert await days() == [(11, 2)]
    await assert_folded_rollups_agree(pool)
    assert await days() == [(11, 3)]
    assert await set_reporting_zone(pool, "Asia/Kathmandu") is False
    assert await asyncio.gather(*(set_reporting_zone(pool, "UTC") for _ in range(3))) in (
        [True, False, False],
        [False, True, False],
        [False, False, True],
    )
    assert await days() == [(10, 2), (11, 1)]
    await assert_folded_rollups_agree(pool)


async def old_calls(pool: asyncpg.Pool, key_id: int) -> list[tuple[Any, Any]]:
    """Events from before the roll-ups; two of them are 'lost'."""
    for at in range(8):
        await billed(pool, key_id, USAGE, cost=at + 1, units={"call": {"deployment": "east"}} if at % 3 else None)
    ended = [await lost(pool, key_id, charge=charge) for charge in (True, False)]
    await as_last_release(pool)
    return ended


async def begun(pool: asyncpg.Pool) -> None:
    """Filling in has begun."""
    assert await fill_usage(pool, most=1) == 0


async def test_older_events_are_filled_in_once_even_if_that_is_interrupted(pool: asyncpg.Pool, key_id: int) -> None:
    await old_calls(pool, key_id)
    await begun(pool)
    assert await fill_usage(pool, most=3) == 3
    async with pool.acquire() as connection:
        for _ in range(2):  # the gateway dies
            transaction = connection.transaction()
            await transaction.start()
            assert await fill_usage(connection, most=4) == 4
            await fold_usage(connection, most=100)
            await transaction.rollback()
    await billed(pool, key_id, USAGE)  # calls go on meanwhile
    await assert_rollups_agree(pool)
    assert await fill_usage(pool, most=4) == 4
    await fold_usage(pool, most=100)
    await assert_rollups_agree(pool)
    await fill_in(pool, most=2)
    state = await rollup_state(pool)
    assert (state.next_id, state.filled_at is not None) == (state.end_id, True)
    await assert_folded_rollups_agree(pool)
    assert await pool.fetchval("select sum(calls) from kaixu.usage_day") == 2 * 11


async def test_only_one_process_fills_in(pool: asyncpg.Pool, key_id: int) -> None:
    await old_calls(pool, key_id)
    await begun(pool)
    async with pool.acquire() as one, one.transaction():
        assert await fill_usage(one, most=4) == 4
        assert await fill_usage(pool, most=4) is None
    await asyncio.gather(*(fill_in(pool, most=2) for _ in range(3)))
    await fill_in(pool)
    await assert_folded_rollups_agree(pool)


@pytest.mark.parametrize("end_reason", ["complete", "released"])
@pytest.mark.parametrize("filled", [0, 9, 10])
async def test_an_old_lost_call_that_is_settled_late_is_counted_as_it_then_is(
    pool: asyncpg.Pool, key_id: int, filled: int, end_reason: str
) -> None:
    ended = await old_calls(pool, key_id)
    await begun(pool)
    if filled:
        assert await fill_usage(pool, most=filled) == filled
    for ask, verdict in ended:
        usage = USAGE if end_reason == "complete" else Usage()
        await settle(pool, ask, verdict, usage, cost=450 if end_reason == "complete" else 0, end_reason=end_reason)
    await assert_rollups_agree(pool)
    await fill_in(pool)
    await assert_folded_rollups_agree(pool)
    await assert_books_balance(pool)


async def test_a_late_settlement_and_filling_in_at_the_same_moment_count_once(pool: asyncpg.Pool, key_id: int) -> None:
    (ask, verdict), _ = await old_calls(pool, key_id)
    await begun(pool)
    async with pool.acquire() as filling:
        transaction = filling.transaction()
        await transaction.start()
        assert await fill_usage(filling, most=100) == 10
        late = asyncio.ensure_future(settle(pool, ask, verdict, USAGE, cost=450))
        await asyncio.wait([late], timeout=0.2)
        assert not late.done()  # it must know whether its event is filled in
        await transaction.commit()
        await late
    await fill_in(pool)
    await assert_folded_rollups_agree(pool)


async def test_filling_in_waits_for_settlements_that_began_before_it(pool: asyncpg.Pool, key_id: int) -> None:
    await old_calls(pool, key_id)
    async with pool.acquire() as old, old.transaction():
        await old.execute("select now()")
        await begun(pool)
        assert await fill_usage(pool, most=100) == 0
        # A settlement of the last release's function that the migration has kept waiting.
        ask, verdict = await admit(pool, key_id)
        await settle(old, ask, verdict, USAGE, cost=99)  # type: ignore[arg-type]
        await old.execute("delete from kaixu.usage_change")
        await old.execute("update kaixu.usage_event set rolled_up = null where ticket = $1", ask.ticket)
    await fill_in(pool)
    await assert_folded_rollups_agree(pool)
    assert await pool.fetchval("select sum(calls) from kaixu.usage_day") == 2 * 11


@pytest.mark.parametrize("own", [False, True], ids=["each", "own"])
async def test_an_end_user_has_a_cap_of_its_own_beside_the_others(pool: asyncpg.Pool, own: bool) -> None:
    customer_id = await customer(pool, end_user_cap_nusd=10**6 if own else 100)
    keys = [(await virtual_key(pool, customer_id))[0] for _ in range(2)]
    if own:
        await pool.execute("insert into kaixu.end_user_cap values ($1, 'ada', 100)", customer_id)
    ask, verdict = await admit(pool, keys[0], most=60, end_user="ada")
    _, second = await admit(pool, keys[1], most=60, end_user="ada")
    assert (second.refused, second.scope) == ("CAP_REACHED", "end_user")
    assert (second.end_user_cap_nusd, second.end_user_spent_nusd, second.end_user_held_nusd) == (100, 0, 60)
    for name in ("bob", None):
        assert (await admit(pool, keys[1], most=60, end_user=name))[1].refused is None
    _, lowered = await admit(pool, keys[1], most=60, least=40, end_user="ada")
    assert lowered.granted_nusd == 40
    await settle(pool, ask, verdict, USAGE, cost=75)  # the vendor reports more than was held: there is no room for it
    row = await pool.fetchrow("select spent_nusd, held_nusd from kaixu.end_user_month where end_user = 'ada'")
    assert row is not None
    assert tuple(row) == (60, 40)
    await assert_rollups_agree(pool)


async def test_a_cap_of_zero_refuses_an_end_user_even_free_calls(pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool, end_user_cap_nusd=0)
    key_id, _ = await virtual_key(pool, customer_id)
    assert (await admit(pool, key_id, most=0, end_user="ada"))[1].scope == "end_user"
    assert (await admit(pool, key_id, most=0))[1].refused is None


async def test_holds_of_an_end_user_come_back_in_every_way(pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool)
    key_id, _ = await virtual_key(pool, customer_id)
    released = await admit(pool, key_id, most=10, end_user="ada", app_id="shop")
    await admission.release(pool, [released[0].ticket])
    await lost(pool, key_id, charge=True, end_user="ada", app_id="shop", build_id="7")
    ask, verdict = await admit(pool, key_id, most=30, end_user="ada", app_id="shop")
    await assert_rollups_agree(pool)
    await settle(pool, ask, verdict, USAGE, cost=20)
    await assert_rollups_agree(pool)
    row = await pool.fetchrow("select calls, spent_nusd, held_nusd from kaixu.end_user_month")
    assert row is not None
    assert tuple(row) == (2, 520, 0)
    assert [tuple(row) for row in await pool.fetch("select app_id, calls, spent_nusd from kaixu.app_month")] == [
        ("shop", 2, 520)
    ]
    tags = await pool.fetch("select app_id, build_id, end_user from kaixu.usage_event order by id")
    assert [tuple(row) for row in tags] == [("shop", "7", "ada"), ("shop", None, "ada")]
    assert await spent_and_held(pool, customer_id) == (520, 0)
