"""Limits beside the month's cap: tokens a minute, a day's cap, limits of a key for one model, groups of keys."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from kaixu.plugin.types import Usage
from kaixu.store import admission
from kaixu.store.admission import Ask, Hold, Verdict
from tests.support.calls import OWNER, admit, asking, settle
from tests.support.money import assert_books_balance, customer, virtual_key

USED = Usage(input_tokens=70, output_tokens=30)


async def group(pool: asyncpg.Pool, customer_id: int, **limits: int) -> int:
    """A group's id."""
    names = "".join(f", {name}" for name in limits)
    marks = "".join(f", ${at}" for at in range(2, 2 + len(limits)))
    made: int = await pool.fetchval(
        f"insert into kaixu.key_group (customer_id, name{names}) values ($1, 'team'{marks}) returning id",
        customer_id,
        *limits.values(),
    )
    return made


async def day_spent(pool: asyncpg.Pool, customer_id: int) -> dict[str, int]:
    """What the days of a customer's limits have, by the kind of their subject."""
    rows = await pool.fetch("select subject, day_spent_nusd from kaixu.limit_use where customer_id = $1", customer_id)
    return {row["subject"].split(":")[0]: row["day_spent_nusd"] for row in rows}


def said(verdict: Verdict) -> tuple[str | None, str | None]:
    """How a call was refused."""
    return verdict.refused, verdict.scope


async def test_tokens_of_calls_in_flight_count_with_the_most_they_can_use_and_then_with_what_they_used(
    pool: asyncpg.Pool,
) -> None:
    customer_id = await customer(pool, tpm_limit=1000)
    key_id, _ = await virtual_key(pool, customer_id)
    ask, first = await admit(pool, key_id, most_tokens=600)
    assert (first.refused, first.granted_tokens, first.token_limit, first.token_room) == (None, 600, 1000, 400)

    _, second = await admit(pool, key_id, most_tokens=401)
    assert said(second) == ("RATE_LIMITED", "tokens")
    assert (second.bound_limit, second.bound_used, second.bound_held) == (1000, 0, 600)
    assert second.retry_after_s is not None
    assert 59 <= second.retry_after_s <= 61

    await settle(pool, ask, first, USED, cost=5)
    _, third = await admit(pool, key_id, most_tokens=900)
    assert (third.refused, third.token_room) == (None, 0)
    await assert_books_balance(pool, reservations=1)


async def test_a_call_larger_than_the_limit_is_granted_what_is_free_and_waits_while_that_is_less_than_half(
    pool: asyncpg.Pool,
) -> None:
    customer_id = await customer(pool)
    key_id, _ = await virtual_key(pool, customer_id, tpm_limit=1000)
    _, first = await admit(pool, key_id, most_tokens=400)
    _, large = await admit(pool, key_id, most_tokens=5000, least_tokens=50)
    assert (first.refused, large.refused, large.granted_tokens) == (None, None, 600)
    await admission.release(pool, [large.ticket])
    assert (await admit(pool, key_id, most_tokens=101))[1].granted_tokens == 101
    _, waits = await admit(pool, key_id, most_tokens=5000, least_tokens=50)
    assert said(waits) == ("RATE_LIMITED", "key_tokens")
    assert waits.retry_after_s is not None


async def test_a_call_whose_least_is_larger_than_the_limit_is_told_that_waiting_does_not_help(
    pool: asyncpg.Pool,
) -> None:
    key_id, _ = await virtual_key(pool, await customer(pool, tpm_limit=1000))
    _, never = await admit(pool, key_id, most_tokens=1500, least_tokens=1001)
    assert (*said(never), never.retry_after_s) == ("RATE_LIMITED", "tokens", None)


@pytest.mark.parametrize(
    ("of_customer", "of_key", "scope"),
    [
        ({"tpm_limit": 0}, {}, "tokens"),
        ({"day_cap_nusd": 0}, {}, "day"),
        ({}, {"tpm_limit": 0}, "key_tokens"),
        ({}, {"day_cap_nusd": 0}, "key_day"),
        ({}, {"limits": {"up/m": {"rpm": 0}}}, "model_minute"),
        ({}, {"limits": {"up/m": {"tpm": 0}}}, "model_tokens"),
        ({}, {"limits": {"up/m": {"day_cap_nusd": 0}}}, "model_day"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
async def test_a_limit_of_0_refuses_every_call_even_a_free_one(
    pool: asyncpg.Pool, of_customer: dict[str, Any], of_key: dict[str, Any], scope: str
) -> None:
    key_id, _ = await virtual_key(pool, await customer(pool, **of_customer), **of_key)
    _, verdict = await admit(pool, key_id, most=0)
    assert verdict.scope == scope
    assert await pool.fetchval("select count(*) from kaixu.reservation") == 0
    assert await pool.fetchval("select count(*) from kaixu.rate_window") == 0


async def test_the_day_of_a_customer_and_of_a_key_counts_what_is_spent_and_what_is_held(pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool, day_cap_nusd=1000)
    key_id, _ = await virtual_key(pool, customer_id, day_cap_nusd=600)
    other_id, _ = await virtual_key(pool, customer_id)
    ask, verdict = await admit(pool, key_id, most=500)
    assert said((await admit(pool, key_id, most=101))[1]) == ("CAP_REACHED", "key_day")
    await settle(pool, ask, verdict, USED, cost=100)
    assert (await admit(pool, key_id, most=500))[1].refused is None
    refused = (await admit(pool, other_id, most=401))[1]
    assert (*said(refused), refused.bound_limit, refused.bound_used, refused.bound_held) == (
        "CAP_REACHED", "day", 1000, 100, 500,
    )  # fmt: skip
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    assert refused.retry_after_s is not None
    assert abs(refused.retry_after_s - (midnight - datetime.now(UTC)).total_seconds()) < 5
    _, lowered = await admit(pool, other_id, most=1000, least=1)
    assert (lowered.refused, lowered.granted_nusd) == (None, 400)
    assert await day_spent(pool, customer_id) == {"customer": 100, "key": 100}


async def test_a_day_begins_anew_and_what_is_settled_late_belongs_to_the_day_of_its_admission(
    pool: asyncpg.Pool,
) -> None:
    customer_id = await customer(pool, day_cap_nusd=1000)
    key_id, _ = await virtual_key(pool, customer_id)
    ask, verdict = await admit(pool, key_id, most=900)
    # As if it had been admitted yesterday.
    assert verdict.admitted_at is not None
    yesterday = verdict.admitted_at - timedelta(days=1)
    await pool.execute("update kaixu.reservation set created_at = created_at - interval '1 day'")
    await pool.execute("update kaixu.limit_use set day = day - 1")
    assert (await admit(pool, key_id, most=1000))[1].refused is None
    await settle(pool, ask, verdict, USED, cost=900, admitted_at=yesterday)
    assert await day_spent(pool, customer_id) == {"customer": 0}


async def test_a_cap_set_in_the_middle_of_a_day_counts_what_the_day_has_had(pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool)
    key_id, _ = await virtual_key(pool, customer_id)
    ask, verdict = await admit(pool, key_id, most=300)
    await settle(pool, ask, verdict, USED, cost=300)
    running, admitted = await admit(pool, key_id, most=200)
    await pool.execute("update kaixu.customer set day_cap_nusd = 600")
    refused = (await admit(pool, key_id, most=101))[1]
    assert (*said(refused), refused.bound_used, refused.bound_held) == ("CAP_REACHED", "day", 300, 200)
    await settle(pool, running, admitted, USED, cost=150)
    assert await day_spent(pool, customer_id) == {"customer": 450}
    assert (await admit(pool, key_id, most=150))[1].refused is None


async def test_limits_of_a_model_hold_under_each_of_its_names_and_for_no_other_model(pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool)
    limits = {"kaixu/chat": {"rpm": 1}, "core/chat": {"tpm": 100}}
    key_id, _ = await virtual_key(pool, customer_id, limits=limits)
    names = "core/chat\nkaixu/chat"

    async def call(tokens: int, model: str = "chat", names: str = names) -> tuple[str | None, str | None]:
        return said((await admit(pool, key_id, provider="core", model=model, names=names, most_tokens=tokens))[1])

    assert await call(101) == ("RATE_LIMITED", "model_tokens")
    assert await call(60) == (None, None)
    assert await call(1) == ("RATE_LIMITED", "model_minute")
    assert await call(10_000, "other", "core/other\nkaixu/other") == (None, None)
    other_id, _ = await virtual_key(pool, customer_id, limits=limits)
    assert (await admit(pool, other_id, provider="core", model="chat", names=names))[1].refused is None


async def test_limits_go_on_with_a_key_that_replaces_another(pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool)
    fields: dict[str, Any] = {"tpm_limit": 100, "day_cap_nusd": 1000, "limits": {"up/m": {"rpm": 3}}}
    key_id, _ = await virtual_key(pool, customer_id, **fields)
    assert (await admit(pool, key_id, most=600, most_tokens=60))[1].refused is None
    next_id, _ = await virtual_key(pool, customer_id, **fields)
    await pool.execute("update kaixu.virtual_key set chain_id = $1 where id = $2", key_id, next_id)
    assert said((await admit(pool, next_id, most=1, most_tokens=60))[1]) == ("RATE_LIMITED", "key_tokens")
    assert said((await admit(pool, next_id, most=600, most_tokens=1))[1]) == ("CAP_REACHED", "key_day")
    assert (await admit(pool, next_id, most=1, most_tokens=1))[1].refused is None
    assert (await admit(pool, next_id, most=1, most_tokens=1))[1].refused is None
    assert said((await admit(pool, next_id, most=1, most_tokens=1))[1]) == ("RATE_LIMITED", "model_minute")


async def test_keys_of_a_group_share_its_limits_and_others_do_not(pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool)
    group_id = await group(pool, customer_id, monthly_cap_nusd=1000, day_cap_nusd=900, tpm_limit=500)
    one, _ = await virtual_key(pool, customer_id, group_id=group_id)
    two, _ = await virtual_key(pool, customer_id, group_id=group_id)
    alone, _ = await virtual_key(pool, customer_id)
    ask, verdict = await admit(pool, one, most=600, most_tokens=100)
    assert said((await admit(pool, two, most=401))[1]) == ("CAP_REACHED", "group")
    assert said((await admit(pool, two, most=301))[1]) == ("CAP_REACHED", "group_day")
    assert said((await admit(pool, two, most=1, most_tokens=401))[1]) == ("RATE_LIMITED", "group_tokens")
    assert (await admit(pool, alone, most=5000, most_tokens=5000))[1].refused is None
    await settle(pool, ask, verdict, USED, cost=50)
    assert (await admit(pool, two, most=850, most_tokens=400))[1].refused is None
    assert await day_spent(pool, customer_id) == {"group": 50}


async def test_an_expired_key_is_refused_and_lives_again_with_a_later_expiry(pool: asyncpg.Pool) -> None:
    key_id, _ = await virtual_key(pool, await customer(pool), expires_at=datetime.now(UTC) - timedelta(seconds=1))
    assert said((await admit(pool, key_id))[1]) == ("KEY_EXPIRED", None)
    later = datetime.now(UTC) + timedelta(hours=1)
    await pool.execute("update kaixu.virtual_key set expires_at = $1", later)
    assert (await admit(pool, key_id))[1].refused is None
    await pool.execute("update kaixu.virtual_key set revoked_at = now(), expires_at = now()")
    assert said((await admit(pool, key_id))[1]) == ("KEY_REVOKED", None)


async def test_a_job_is_bound_by_days_and_not_by_rates(pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool, tpm_limit=10, day_cap_nusd=100)
    key_id, _ = await virtual_key(pool, customer_id, limits={"up/m": {"rpm": 1}})
    for _ in range(2):
        ask, verdict = await admit(pool, key_id, most=50, most_tokens=5000, operation="job:chat")
        assert verdict.refused is None
        await settle(pool, ask, verdict, Usage(4000, 1000), cost=40)
    assert (await admit(pool, key_id, most=10, most_tokens=10))[1].refused is None
    assert said((await admit(pool, key_id, most=11, operation="job:chat"))[1]) == ("CAP_REACHED", "day")


async def test_a_release_gives_everything_back_but_the_request(pool: asyncpg.Pool) -> None:
    key_id, _ = await virtual_key(
        pool, await customer(pool, tpm_limit=100, day_cap_nusd=100), limits={"up/m": {"rpm": 2}}
    )
    _, verdict = await admit(pool, key_id, most=100, most_tokens=100)
    await admission.release(pool, [verdict.ticket])
    _, again = await admit(pool, key_id, most=100, most_tokens=100)
    assert again.refused is None
    assert said((await admit(pool, key_id, most=0))[1]) == ("RATE_LIMITED", "model_minute")


async def test_a_lost_call_is_charged_to_its_day_and_its_late_settlement_replaces_the_charge_once(
    pool: asyncpg.Pool,
) -> None:
    customer_id = await customer(pool, day_cap_nusd=1000, tpm_limit=1000)
    group_id = await group(pool, customer_id, day_cap_nusd=900)
    key_id, _ = await virtual_key(pool, customer_id, group_id=group_id, limits={"up/m": {"day_cap_nusd": 800}})
    ask, verdict = await admit(pool, key_id, most=500, most_tokens=600)
    await pool.execute("update kaixu.reservation set expires_at = now() - interval '1 s'")
    assert len(await admission.expire(pool, charge=True)) == 1
    assert await day_spent(pool, customer_id) == {"customer": 500, "group": 500, "model": 500}
    for _ in range(2):
        await settle(pool, ask, verdict, USED, cost=120)
        assert await day_spent(pool, customer_id) == {"customer": 120, "group": 120, "model": 120}
    assert (await admit(pool, key_id, most_tokens=900, most=1))[1].refused is None
    assert said((await admit(pool, key_id, most_tokens=1, most=1))[1]) == ("RATE_LIMITED", "tokens")
    await assert_books_balance(pool, reservations=1)


async def test_a_bill_above_its_hold_does_not_pass_a_day_or_the_month_of_a_group(pool: asyncpg.Pool) -> None:
    for limits, spent in (({"day_cap_nusd": 1000}, 700), ({"monthly_cap_nusd": 1000}, 700), ({}, 5000)):
        customer_id = await customer(pool)
        group_id = await group(pool, customer_id, **limits)
        key_id, _ = await virtual_key(pool, customer_id, group_id=group_id)
        ask, verdict = await admit(pool, key_id, most=500)
        _, other = await admit(pool, key_id, most=300)
        await settle(pool, ask, verdict, USED, cost=5000)
        event = await pool.fetchrow("select cost_nusd, units from kaixu.usage_event where ticket = $1", ask.ticket)
        assert event is not None
        assert event["cost_nusd"] == spent
        assert (event["units"] or {}).get("unbilled_nusd", 0) == 5000 - spent
        await admission.release(pool, [other.ticket])


async def test_holds_that_a_crash_lost_are_counted_again(pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool, day_cap_nusd=1000, tpm_limit=1000)
    key_id, _ = await virtual_key(pool, customer_id)
    ask, verdict = await admit(pool, key_id, most=600, most_tokens=600)
    await admission.release(pool, [ask.ticket])  # as if the crash had forgotten it
    hold = Hold(
        ask.ticket, customer_id, key_id, key_id, verdict.month, "ai", 600, "chat", "up", "m", 1, None, "r",
        admitted_at=verdict.admitted_at, most_tokens=600,
    )  # fmt: skip
    assert await admission.reserve_again(pool, [hold], owner=OWNER, lifetime_s=60) == 1
    assert said((await admit(pool, key_id, most=401, most_tokens=1))[1]) == ("CAP_REACHED", "day")
    assert said((await admit(pool, key_id, most=1, most_tokens=401))[1]) == ("RATE_LIMITED", "tokens")
    await settle(pool, ask, verdict, USED, cost=5)
    assert (await admit(pool, key_id, most=995, most_tokens=900))[1].refused is None


async def test_calls_of_one_statement_see_each_other(pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool, tpm_limit=100)
    group_id = await group(pool, customer_id, monthly_cap_nusd=70)
    keys = [(await virtual_key(pool, customer_id, group_id=group_id))[0] for _ in range(2)]
    asks = [
        Ask(
            uuid4(), None, None, keys[at % 2], None, None, 0, "chat", "up", "up", "m", "push" if at % 3 else "ai", 1,
            10, 10, "r", most_tokens=9, least_tokens=9,
        )
        for at in range(20)
    ]  # fmt: skip
    verdicts = await admission.admit(pool, asks, owner=OWNER, lifetime_s=60, default_rpm=1000)
    assert sum(verdict.refused is None for verdict in verdicts) == 7
    assert {said(verdict) for verdict in verdicts if verdict.refused} == {("CAP_REACHED", "group")}
    await pool.execute("update kaixu.key_group set monthly_cap_nusd = null")
    asks = [Ask(uuid4(), *astuple_from(ask)) for ask in asks]
    verdicts = await admission.admit(pool, asks, owner=OWNER, lifetime_s=60, default_rpm=1000)
    assert sum(verdict.refused is None for verdict in verdicts) == 4


def astuple_from(ask: Ask) -> list[Any]:
    """The fields of a request for admission without its ticket."""
    return [getattr(ask, name) for name in Ask.__struct_fields__ if name != "ticket"]


async def test_calls_without_limits_write_none_of_this(pool: asyncpg.Pool) -> None:
    key_id, _ = await virtual_key(pool, await customer(pool))
    ask, verdict = await admit(pool, key_id, most_tokens=600)
    assert not await pool.fetchval("select is_limited from kaixu.reservation")
    await settle(pool, ask, verdict, USED, cost=5)
    assert await pool.fetchval("select count(*) from kaixu.limit_use") == 0
    assert not await pool.fetchval("select has_limits from kaixu.customer")


async def test_the_first_limit_counts_calls_in_flight_those_of_its_own_statement_too(pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool)
    plain, limited = [(await virtual_key(pool, customer_id))[0] for _ in range(2)]
    await admit(pool, plain, most=10)
    assert not await pool.fetchval("select bool_or(is_limited) from kaixu.reservation")
    await pool.execute("update kaixu.virtual_key set day_cap_nusd = 100 where id = $1", limited)
    asks = [asking(plain, most=20), asking(limited, most=30)]
    verdicts = await admission.admit(pool, asks, owner=OWNER, lifetime_s=60, default_rpm=1000)
    assert [verdict.refused for verdict in verdicts] == [None, None]
    await pool.execute("update kaixu.customer set day_cap_nusd = 100")
    refused = (await admit(pool, plain, most=41))[1]
    assert (*said(refused), refused.bound_held) == ("CAP_REACHED", "day", 60)


async def test_what_no_limit_needs_any_more_is_removed_and_a_limit_set_again_is_exact(pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool, day_cap_nusd=1000)
    key_id, _ = await virtual_key(pool, customer_id)
    ask, verdict = await admit(pool, key_id, most=300)
    await settle(pool, ask, verdict, USED, cost=300)
    assert await pool.fetchval("select kaixu.prune_limit_use()") == 0
    assert await pool.fetchval("select has_limits from kaixu.customer")
    await pool.execute("update kaixu.limit_use set day = day - 2, token_slot = 0")
    assert await pool.fetchval("select kaixu.prune_limit_use()") == 1
    assert not await pool.fetchval("select has_limits from kaixu.customer")
    refused = (await admit(pool, key_id, most=701))[1]
    assert (*said(refused), refused.bound_used) == ("CAP_REACHED", "day", 300)


async def test_a_settlement_that_waits_for_the_account_does_not_put_the_token_window_back(pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool, tpm_limit=1000)
    key_id, _ = await virtual_key(pool, customer_id)
    ask, verdict = await admit(pool, key_id, most_tokens=100)
    async with pool.acquire() as other, other.transaction():
        await other.execute("select from kaixu.customer where id = $1 for update", customer_id)
        settling = asyncio.ensure_future(settle(pool, ask, verdict, USED, cost=5))
        await asyncio.sleep(1.1)
        second = await other.fetchval("select floor(extract(epoch from clock_timestamp()))::bigint")
    await settling
    assert await pool.fetchval("select min(token_slot) from kaixu.limit_use") >= second


async def test_a_clock_that_was_set_back_neither_opens_nor_closes_a_token_window(pool: asyncpg.Pool) -> None:
    key_id, _ = await virtual_key(pool, await customer(pool, tpm_limit=1000))
    ask, verdict = await admit(pool, key_id, most_tokens=900)
    await settle(pool, ask, verdict, Usage(600, 200), cost=5)
    await pool.execute("update kaixu.limit_use set token_slot = token_slot + 20")  # the window's head lies ahead
    assert said((await admit(pool, key_id, most_tokens=201))[1]) == ("RATE_LIMITED", "tokens")
    await pool.execute("update kaixu.limit_use set token_slot = token_slot + 3600")
    assert (await admit(pool, key_id, most_tokens=1000))[1].refused is None


async def test_a_hundred_calls_at_once_on_one_connection_each_pass_no_limit(pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool, tpm_limit=1000, day_cap_nusd=900)
    keys = [(await virtual_key(pool, customer_id))[0] for _ in range(3)]
    done = await asyncio.gather(*(admit(pool, keys[at % 3], most=100, most_tokens=100) for at in range(100)))
    assert sum(verdict.refused is None for _, verdict in done) == 9


@pytest.mark.parametrize("table", ["customer", "virtual_key"])
async def test_a_limit_that_is_taken_away_and_set_again_counts_the_calls_that_began_between(
    pool: asyncpg.Pool, table: str
) -> None:
    customer_id = await customer(pool)
    key_id, _ = await virtual_key(pool, customer_id)

    async def set_limits(day_cap_nusd: int | None, tpm_limit: int | None) -> None:
        await pool.execute(f"update kaixu.{table} set day_cap_nusd = $1, tpm_limit = $2", day_cap_nusd, tpm_limit)

    await set_limits(100, 100)
    ask, first = await admit(pool, key_id, most=5, most_tokens=5)
    await settle(pool, ask, first, Usage(1, 1), cost=2)
    await set_limits(None, None)
    ask, _ = await admit(pool, key_id, most=90, most_tokens=90)
    await set_limits(100, None)
    _, after = await admit(pool, key_id, most=90, least=1)
    assert (after.refused, after.granted_nusd) == (None, 8)
    await set_limits(None, 100)
    _, after = await admit(pool, key_id, most=0, most_tokens=20)
    assert (after.refused, (after.scope or "").removeprefix("key_")) == ("RATE_LIMITED", "tokens")
    # And one that is lost is charged to the day.
    await pool.execute("update kaixu.reservation set expires_at = now() - interval '1 s' where ticket = $1", ask.ticket)
    await pool.fetch("select * from kaixu.expire(p_charge => true, p_most_calls => 10)")
    assert {*(await day_spent(pool, customer_id)).values()} == {92}
