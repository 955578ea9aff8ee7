"""The database's clock ran ahead and was set back: rows written meanwhile block nothing for long."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from kaixu.plugin.types import Usage
from kaixu.store import admission, jobs, reembedding, responses, schedules, vector_index
from kaixu.store.job_webhooks import claim_webhooks, record_failed
from kaixu.store.login import login_attempt, login_succeeded
from tests.support.calls import OWNER, admit, billed
from tests.support.money import assert_books_balance, customer, spent_and_held, virtual_key

#: How far ahead it ran, in seconds.
AHEAD = [90, 2 * 3600, 40 * 86_400]


async def windows_ahead(pool: asyncpg.Pool, seconds: int) -> None:
    """As if the key had been used while the clock was `seconds` ahead."""
    await pool.execute(
        """
        update kaixu.rate_window
           set second_slot = second_slot + $1, ten_minute_slot = ten_minute_slot + $1 / 600,
               second_counts = (select array_agg(second_counts[(((s - $1) % 61 + 61) % 61) + 1] order by s)
                                  from generate_series(0, 60) s),
               ten_minute_counts = (select array_agg(ten_minute_counts[(((s - $1 / 600) % 145 + 145) % 145) + 1] order by s)
                                      from generate_series(0, 144) s)
        """,
        seconds,
    )


@pytest.mark.parametrize("seconds", AHEAD)
async def test_a_key_is_not_refused_for_calls_of_the_future(pool: asyncpg.Pool, seconds: int) -> None:
    key_id, _ = await virtual_key(pool, await customer(pool), rpm_limit=2)
    for _ in range(2):
        await billed(pool, key_id, Usage(), cost=1)
    assert (await admit(pool, key_id))[1].refused == "RATE_LIMITED"
    await windows_ahead(pool, seconds)
    assert [(await admit(pool, key_id))[1].refused for _ in range(3)] == [None, None, "RATE_LIMITED"]


@pytest.mark.parametrize("seconds", [2, 30, 59])
async def test_a_small_step_back_allows_no_more_calls_and_frees_within_the_window(
    pool: asyncpg.Pool, seconds: int
) -> None:
    key_id, _ = await virtual_key(pool, await customer(pool), rpm_limit=2)
    for _ in range(2):
        await billed(pool, key_id, Usage(), cost=1)
    await windows_ahead(pool, seconds)
    verdict = (await admit(pool, key_id))[1]
    assert verdict.refused == "RATE_LIMITED"
    assert verdict.retry_after_s is not None
    assert 55 <= verdict.retry_after_s <= 61


async def test_a_day_s_limit_holds_over_a_step_back_and_is_never_longer_than_a_day(pool: asyncpg.Pool) -> None:
    key_id, _ = await virtual_key(pool, await customer(pool), rpd_limit=2)
    for _ in range(2):
        await billed(pool, key_id, Usage(), cost=1)
    await windows_ahead(pool, 2 * 3600)
    verdict = (await admit(pool, key_id))[1]
    assert (verdict.refused, verdict.scope) == ("RATE_LIMITED", "day")
    assert verdict.retry_after_s is not None
    assert 86_000 <= verdict.retry_after_s <= 145 * 600
    await windows_ahead(pool, 2 * 86_400)
    assert (await admit(pool, key_id))[1].refused is None


async def test_a_device_that_was_seen_in_the_future_is_seen_now(pool: asyncpg.Pool) -> None:
    key_id, _ = await virtual_key(pool, await customer(pool))
    await admit(pool, key_id, install_id="here")
    await pool.execute("update kaixu.device set last_seen_at = now() + interval '2 hours'")
    await admit(pool, key_id, install_id="here")
    assert await pool.fetchval("select last_seen_at <= clock_timestamp() from kaixu.device")


async def test_the_operator_can_log_in(pool: asyncpg.Pool) -> None:
    async def one(address: bytes) -> int | None:
        return await login_attempt(pool, address_hash=address, per_address=3, in_all=5, window_s=60)

    for number in range(9):
        await one(b"%d" % (number % 3))
    assert await one(b"0") is not None
    await pool.execute(
        "update kaixu.login_try set last_at = last_at + interval '2 hours', "
        "tried_at = (select coalesce(array_agg(s + interval '2 hours'), '{}') from unnest(tried_at) s)"
    )
    assert [await one(b"0") for _ in range(4)][:3] == [None] * 3
    assert await one(b"0") is not None
    # An address whose success is far in the future is not known for ever.
    await login_succeeded(pool, b"known")
    await pool.execute(
        "update kaixu.login_try set succeeded_at = now() + interval '1 year' where address_hash = 'known'"
    )
    assert [await one(b"x"), await one(b"y")] == [None, None]  # five in all
    assert await one(b"known") is not None


async def test_a_hold_of_a_gateway_that_died_ends(pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool)
    key_id, _ = await virtual_key(pool, customer_id)
    _, verdict = await admit(pool, key_id, most=100)
    await pool.execute(
        "update kaixu.reservation set created_at = now() + '2 hours', expires_at = now() + '2 hours 1 minute'"
    )
    living, _ = await admit(pool, key_id, most=7)
    assert [one.ticket for one in await admission.expire(pool, charge=False)] == [verdict.ticket]
    assert await spent_and_held(pool, customer_id) == (0, 7)
    assert await admission.renew(pool, [living.ticket], owner=OWNER, lifetime_s=3600) == 1
    assert await admission.expire(pool, charge=False) == []
    await assert_books_balance(pool, reservations=1)


async def job(pool: asyncpg.Pool, **fields: float) -> UUID:
    new = jobs.NewJob(
        id=uuid4(), kind="chat", customer_id=None, key_id=None, install_id=None, request_id="r", payload=b"",
        run_after_s=fields.get("run_after_s", 0),
    )  # fmt: skip
    return await jobs.insert_job(pool, new)


async def claimed(pool: asyncpg.Pool, lease_s: float = 60) -> list[jobs.ClaimedJob]:
    return await jobs.claim_jobs(pool, owner=uuid4(), kinds=["chat"], lease_s=lease_s, most=10)


async def all_ahead(pool: asyncpg.Pool) -> None:
    await pool.execute(
        """
        update kaixu.job
           set created_at = created_at + $1::interval, run_after = run_after + $1::interval,
               heartbeat_at = heartbeat_at + $1::interval, leased_until = leased_until + $1::interval,
               completed_at = completed_at + $1::interval, webhook_after = webhook_after + $1::interval
        """,
        timedelta(hours=2),
    )


async def test_a_submitted_job_runs_after_its_own_delay(pool: asyncpg.Pool) -> None:
    now = await job(pool)
    later = await job(pool, run_after_s=600)
    await all_ahead(pool)
    taken = await claimed(pool) or await claimed(pool)  # the first claim may be a moment too early
    assert [one.id for one in taken] == [now]
    wait_s = await pool.fetchval(
        "select extract(epoch from run_after - now())::float from kaixu.job where id = $1", later
    )
    assert 590 <= wait_s <= 601


async def test_a_job_that_waits_for_its_next_try_waits_no_longer_than_that(pool: asyncpg.Pool) -> None:
    await job(pool)
    [one] = await claimed(pool)
    await jobs.requeue(pool, one, wait_s=30, is_failure=True)
    await pool.execute(
        "update kaixu.job set heartbeat_at = now() + '2 hours', run_after = now() + '2 hours 30 seconds'"
    )
    assert await claimed(pool) == []
    wait_s = await pool.fetchval("select extract(epoch from run_after - now())::float from kaixu.job")
    assert 25 <= wait_s <= 31


async def test_a_job_whose_worker_was_lost_is_claimed_again_after_its_lease(pool: asyncpg.Pool) -> None:
    await job(pool)
    [one] = await claimed(pool, lease_s=1)
    await all_ahead(pool)
    assert await claimed(pool) == []  # its worker may be alive, and renews within the lease
    assert await pool.fetchval("select leased_until < clock_timestamp() + interval '1.1 seconds' from kaixu.job")
    assert [held.claim for held in await jobs.heartbeat(pool, [one], lease_s=1)] == [one.claim]
    await pool.execute("update kaixu.job set leased_until = now()")
    [again] = await claimed(pool)
    assert (again.id, again.claim != one.claim) == (one.id, True)


async def test_the_webhook_of_a_completed_job_is_delivered(pool: asyncpg.Pool) -> None:
    await job(pool)
    await pool.execute("update kaixu.job set webhook = ''")
    [one] = await claimed(pool)
    assert await jobs.succeed(pool, one, result=b"", output_len=None, ticket=None, month=None)
    await all_ahead(pool)
    [completed] = await claim_webhooks(pool, lease_s=60, most=10)
    await record_failed(pool, completed, error="late", retry_in_s=30)
    assert await claim_webhooks(pool, lease_s=60, most=10) == []  # the wait for the next try is kept
    await pool.execute("update kaixu.job set webhook_after = now() + '4 hours'")
    assert len(await claim_webhooks(pool, lease_s=60, most=10)) == 1


async def test_a_schedule_goes_on(pool: asyncpg.Pool) -> None:
    await schedules.register(pool, "a.tick", 3600)
    assert await schedules.claim(pool, "a.tick") is None
    await pool.execute("update kaixu.schedule set next_at = now() + interval '2 hours'")
    assert await schedules.claim(pool, "a.tick") is not None
    assert await schedules.claim(pool, "a.tick") is None


async def test_a_cached_answer_is_not_valid_longer(pool: asyncpg.Pool) -> None:
    request_hash = b"q" * 32
    await responses.store_response(pool, customer_id=1, request_hash=request_hash, answer=b"a", seconds=60)
    assert await responses.find_response(pool, customer_id=1, request_hash=request_hash) == b"a"
    await pool.execute(
        "update kaixu.response set created_at = now() + '2 hours', expires_at = now() + '2 hours 1 minute'"
    )
    assert await responses.find_response(pool, customer_id=1, request_hash=request_hash) is None
    assert await responses.prune_responses(pool) == 1


async def test_re_embedding_and_indexing_go_on(pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool)
    number = await pool.fetchval(
        """
        insert into kaixu.collection (customer_id, name, provider, model, dimensions, language, vectors, indexing_until, updated_at)
        values ($1, 'large', 'up', 'm', 1000, 'simple', 10000000, now() + '2 hours', now() + '2 hours') returning id
        """,
        customer_id,
    )
    found = await vector_index.claim(pool, lease_s=120)
    assert found is not None
    assert found.id == number
    assert await vector_index.claim(pool, lease_s=120) is None
    await pool.execute(
        """
        insert into kaixu.reembedding (customer_id, key_id, collection_id, copy_id, total, request_id, leased_until, updated_at)
        values ($1, 1, $2, $2, 1, 'r', now() + '2 hours 1 second', now() + '2 hours')
        """,
        customer_id,
        number,
    )
    assert await reembedding.claim(pool, lease_s=60) is None
    await pool.execute("select pg_sleep(1.1)")
    assert await reembedding.claim(pool, lease_s=60) is not None
