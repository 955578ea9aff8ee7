"""Jobs that run one at a time, a few at a time, that are unique, that pause, wait for a cap, and fail: on a real Postgres."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from kaixu.store import failures, job_rows, jobs
from kaixu.store.cap_alerts import check_noted_caps, note_cap
from kaixu.store.jobs import ClaimedJob, NewJob, Pause
from tests.support.money import customer, virtual_key
from tests.support.size import size

KIND = "mine.work"


async def enqueue(pool: Any, customer_id: int | None = None, *, kind: str = KIND, **fields: Any) -> UUID:
    job = NewJob(
        id=uuid4(), kind=kind, customer_id=customer_id, install_id=None, request_id="r", payload=b"", provider="mine",
        model=kind, **{"key_id": None, **fields},
    )  # fmt: skip
    return await jobs.insert_job(pool, job)


async def claim(pool: Any, most: int = 10, kinds: tuple[str, ...] = (KIND,)) -> list[ClaimedJob]:
    return await jobs.claim_jobs(pool, owner=uuid4(), kinds=kinds, lease_s=60, most=most)


async def succeed(pool: Any, job: ClaimedJob) -> None:
    assert await jobs.succeed(pool, job, result=b"", output_len=None, ticket=None, month=None)


async def state(pool: asyncpg.Pool, job_id: UUID) -> str:
    row = await job_rows.find_job(pool, job_id, customer_id=None)
    assert row is not None
    return row.status


async def test_jobs_with_the_same_serial_value_run_one_at_a_time_in_order(pool: asyncpg.Pool) -> None:
    first = await enqueue(pool, serial="a")
    second = await enqueue(pool, serial="a", kind="mine.other")
    alone = await enqueue(pool, serial="b")
    kinds = (KIND, "mine.other")
    claimed = {job.id: job for job in await claim(pool, kinds=kinds)}
    assert {*claimed} == {first, alone}
    assert await claim(pool, kinds=kinds) == []
    # A failed attempt keeps its place, and so does a pause.
    await jobs.requeue(pool, claimed[first], wait_s=60, is_failure=True)
    assert await claim(pool, kinds=kinds) == []
    await pool.execute("update kaixu.job set run_after = now() where id = $1", first)
    [again] = await claim(pool, kinds=kinds)
    assert again.id == first
    await jobs.end(pool, again, "failed", code="X")
    assert [job.id for job in await claim(pool, kinds=kinds)] == [second]


async def test_gateways_that_claim_at_the_same_moment_keep_lines_and_limits(pool: asyncpg.Pool) -> None:
    one, two = await pool.acquire(), await pool.acquire()
    try:
        late = one.transaction()
        await late.start()
        earlier = await enqueue(one, serial="a")  # takes its number first, and is seen last
        later = await enqueue(pool, serial="a")
        limited = [await enqueue(pool, kind="mine.few", at_once=1) for _ in range(2)]
        kinds = (KIND, "mine.few")
        claiming = two.transaction()
        await claiming.start()
        claimed = await claim(two, kinds=kinds)
        assert {job.id for job in claimed} & {later} == {later}
        assert len(claimed) == 2
        await late.commit()
        assert await claim(pool, kinds=kinds) == []  # the other claim is not committed yet
        await claiming.commit()
        assert await claim(pool, kinds=kinds) == []
        for job in claimed:
            await succeed(pool, job)
        rest = {*limited} - {job.id for job in claimed}
        assert {job.id for job in await claim(pool, kinds=kinds)} == {earlier, *rest}
    finally:
        await pool.release(one)
        await pool.release(two)


async def test_at_once_limits_a_customer_and_a_kind(pool: asyncpg.Pool) -> None:
    poor, rich = await customer(pool), await customer(pool)
    for _ in range(4):
        await enqueue(pool, poor, at_once=2)
    await enqueue(pool, poor, kind="mine.other")
    await enqueue(pool, rich, at_once=2)
    kinds = (KIND, "mine.other")
    claimed = await claim(pool, kinds=kinds)
    assert Counter((job.customer_id, job.kind) for job in claimed) == {
        (poor, KIND): 2, (poor, "mine.other"): 1, (rich, KIND): 1,
    }  # fmt: skip
    await succeed(pool, next(job for job in claimed if (job.customer_id, job.kind) == (poor, KIND)))
    assert [job.customer_id for job in await claim(pool, kinds=kinds)] == [poor]


async def test_claims_of_many_gateways_never_break_a_line_or_a_limit(pool: asyncpg.Pool) -> None:
    """Seeded: jobs in lines and under limits, four claimers, workers that die, fail, pause and succeed."""
    choice = random.Random(20_261_129)
    owner = await customer(pool)
    lines = [f"line {at}" for at in range(5)]
    order: dict[str, list[UUID]] = {line: [] for line in lines}
    for _ in range(size(60, 600)):
        line = choice.choice(lines)
        order[line].append(await enqueue(pool, serial=line))
        await enqueue(pool, owner, kind="mine.few", at_once=3)
    ended: dict[str, list[UUID]] = {line: [] for line in lines}
    by_id = {job_id: line for line, ids in order.items() for job_id in ids}

    async def gateway() -> None:
        while await pool.fetchval("select count(*) from kaixu.job where completed_at is null"):
            for job in await claim(pool, choice.randint(1, 4), (KIND, "mine.few")):
                running = await pool.fetch(
                    """
                    select coalesce(serial, kind) as line, count(*) as count, max(coalesce(at_once, 1)) as most
                      from kaixu.job where status = 'running' group by 1
                    """
                )
                assert all(row["count"] <= row["most"] for row in running), running
                end = choice.random()
                if end < 0.1:
                    await jobs.requeue(pool, job, wait_s=0.01, is_failure=True)
                elif end < 0.2:
                    await jobs.requeue(pool, job, wait_s=0.01, is_failure=False, pause="waiting")
                elif end < 0.25:
                    await pool.execute(
                        "update kaixu.job set leased_until = now() - interval '1 s' where id = $1", job.id
                    )
                else:
                    if job.id in by_id:
                        ended[by_id[job.id]].append(job.id)
                    await succeed(pool, job)
            await asyncio.sleep(0.002)

    await asyncio.gather(*(gateway() for _ in range(4)))
    assert ended == order


async def test_a_key_is_unique_among_unended_jobs(pool: asyncpg.Pool) -> None:
    owner, other = await customer(pool), await customer(pool)
    first = await enqueue(pool, owner, unique_key="k")
    assert await enqueue(pool, owner, unique_key="k") == first
    elsewhere = await enqueue(pool, other, unique_key="k")
    named_otherwise = await enqueue(pool, owner, unique_key="k", kind="mine.other")
    assert len({first, elsewhere, named_otherwise}) == 3
    [job] = [one for one in await claim(pool) if one.id == first]
    assert await enqueue(pool, owner, unique_key="k") == first  # it runs
    await succeed(pool, job)
    second = await enqueue(pool, owner, unique_key="k")
    assert second != first
    assert len({await enqueue(pool, owner, unique_key="k") for _ in range(3)}) == 1
    many = await asyncio.gather(*(enqueue(pool, owner, unique_key="m") for _ in range(20)))
    assert len({*many}) == 1


async def test_a_pause_takes_no_attempt_and_forgets_lost_workers(pool: asyncpg.Pool) -> None:
    job_id = await enqueue(pool, most_attempts=1)
    for _ in range(jobs.MOST_LOSSES + 2):
        [job] = await claim(pool)
        await pool.execute("update kaixu.job set leased_until = now() - interval '1 s'")
        [job] = await claim(pool)  # its worker was lost once
        assert job.attempts == 0
        assert await jobs.requeue(pool, job, wait_s=3600, is_failure=False, pause="waiting")
        assert (await state(pool, job_id), await claim(pool)) == ("waiting", [])
        await pool.execute("update kaixu.job set run_after = now()")
    listed = await job_rows.list_jobs(pool, customer_id=None, status="waiting", limit=9)
    assert [row.id for row in listed] == [job_id]
    assert await job_rows.list_jobs(pool, customer_id=None, status="queued", limit=9) == []
    [job] = await claim(pool)
    assert await state(pool, job_id) == "running"


@pytest.mark.parametrize("pause", [None, "waiting", "blocked"])
async def test_a_running_job_that_is_to_be_cancelled_does_not_wait(
    pool: asyncpg.Pool, pause: jobs.Pause | None
) -> None:
    job_id = await enqueue(pool, reports_failure=True)
    [job] = await claim(pool)
    assert await job_rows.cancel_job(pool, job_id, customer_id=None) == "running"
    assert await jobs.requeue(pool, job, wait_s=3600, is_failure=False, pause=pause)
    assert await state(pool, job_id) == "cancelled"
    assert [one.id for one in await failures.claim_failures(pool, [KIND], lease_s=9, most=9)] == [job_id]


async def test_a_blocked_job_is_woken_by_room_under_its_cap(pool: asyncpg.Pool) -> None:
    owner = await customer(pool, cap_nusd=100)
    key_id, _ = await virtual_key(pool, owner, monthly_cap_nusd=100)
    job_id = await enqueue(pool, owner, key_id=key_id)
    [job] = await claim(pool)
    await jobs.requeue(pool, job, wait_s=3600, is_failure=False, pause="blocked", needs_nusd=150, code="CAP_REACHED")

    async def note() -> str:
        async with pool.acquire() as connection:
            await note_cap(connection, customer_id=owner, chain_id=0)
        while await check_noted_caps(pool, [80], most=10):
            pass
        return await state(pool, job_id)

    assert await note() == "blocked"
    await pool.execute("update kaixu.customer set monthly_cap_nusd = 150 where id = $1", owner)
    assert await note() == "blocked"  # the cap of its key
    await pool.execute("update kaixu.virtual_key set monthly_cap_nusd = 150 where id = $1", key_id)
    assert await note() == "queued"
    assert [one.id for one in await claim(pool)] == [job_id]


async def test_a_job_that_needs_room_in_a_book_with_its_own_cap_waits_for_that_alone(pool: asyncpg.Pool) -> None:
    await pool.execute(
        "insert into kaixu.book (name, integration, title, has_own_cap, cap_setting, default_cap_nusd)"
        " values ('ships', 'ship', 'Ships', true, 'cap', 100), ('letters', 'ship', 'Letters', false, null, null)"
    )
    owner = await customer(pool, cap_nusd=0)
    key_id, _ = await virtual_key(pool, owner, monthly_cap_nusd=0)
    ids = [await enqueue(pool, owner, key_id=key_id), await enqueue(pool, owner), await enqueue(pool, owner)]
    for job, book in zip(await claim(pool), ("ships", "ships", "letters"), strict=True):
        await jobs.requeue(
            pool, job, wait_s=3600, is_failure=False, pause="blocked", needs_nusd=150, needs_book=book, code="X"
        )

    async def checked() -> list[str]:
        while await check_noted_caps(pool, [80], most=10):
            pass
        return [await state(pool, one) for one in ids]

    async def cap(value: float | None) -> None:
        await pool.fetch(
            "select from kaixu.set_integration_settings(p_customer_id => $1, p_integration => 'ship',"
            " p_changes => $2, p_reset => '{}', p_unique => '{}')",
            owner,
            {"cap": value},
        )

    async with pool.acquire() as connection:
        await note_cap(connection, customer_id=owner, chain_id=0)
    assert await checked() == ["blocked"] * 3
    for refusing in (0, 0.000000149):
        await cap(refusing)
        assert await checked() == ["blocked"] * 3
    await cap(0.00000015)  # the change itself notes the cap
    assert await checked() == ["queued", "queued", "blocked"]  # the last one needs room under the customer's cap
    await pool.execute("update kaixu.customer set monthly_cap_nusd = 150 where id = $1", owner)
    async with pool.acquire() as connection:
        await note_cap(connection, customer_id=owner, chain_id=0)
    assert await checked() == ["queued"] * 3  # it has no key whose cap it could wait for


async def test_a_book_without_a_cap_has_always_room(pool: asyncpg.Pool) -> None:
    await pool.execute(
        "insert into kaixu.book (name, integration, title, has_own_cap, cap_setting, default_cap_nusd)"
        " values ('ships', 'ship', 'Ships', true, 'cap', null)"
    )
    owner = await customer(pool, cap_nusd=0)
    job_id = await enqueue(pool, owner)
    [job] = await claim(pool)
    await jobs.requeue(pool, job, wait_s=3600, is_failure=False, pause="blocked", needs_nusd=150, needs_book="ships")
    async with pool.acquire() as connection:
        await note_cap(connection, customer_id=owner, chain_id=0)
    while await check_noted_caps(pool, [80], most=10):
        pass
    assert await state(pool, job_id) == "queued"


async def woken(pool: asyncpg.Pool, job_id: UUID, *, customer_id: int | None = None, integration: str = "mine") -> bool:
    """Wake a job; whether there is one that has not ended."""
    found: bool = await pool.fetchval(
        "select kaixu.wake_job(p_job_id => $1, p_integration => $2, p_customer_id => $3)",
        job_id,
        integration,
        customer_id,
    )
    return found


@pytest.mark.parametrize("pause", [None, "waiting", "blocked"])
async def test_a_job_that_waits_is_woken(pool: asyncpg.Pool, pause: Pause | None) -> None:
    owner = await customer(pool)
    job_id = await enqueue(pool, owner)
    [job] = await claim(pool)
    await jobs.requeue(pool, job, wait_s=3600, is_failure=True, pause=pause, needs_nusd=1)
    assert await claim(pool) == []
    assert not await woken(pool, job_id, customer_id=owner + 1)
    assert not await woken(pool, job_id, integration="min")
    assert await claim(pool) == []
    assert await woken(pool, job_id, customer_id=owner)
    [again] = await claim(pool)
    assert (again.id, again.attempts) == (job_id, 1)


@pytest.mark.parametrize("how", ["pauses", "fails", "succeeds"])
async def test_a_job_that_is_woken_while_it_runs_runs_once_more(pool: asyncpg.Pool, how: str) -> None:
    job_id = await enqueue(pool, unique_key="one")
    [job] = await claim(pool)
    assert await woken(pool, job_id)
    assert await woken(pool, job_id)
    if how == "succeeds":
        assert await jobs.succeed(pool, job, result=b"early", output_len=5, ticket=None, month=None)
    else:
        pause: Pause | None = "waiting" if how == "pauses" else None
        assert await jobs.requeue(pool, job, wait_s=3600, is_failure=how == "fails", pause=pause)
    [again] = await claim(pool)
    assert again.id == job_id
    assert await jobs.succeed(pool, again, result=b"late", output_len=4, ticket=None, month=None)
    assert await claim(pool) == []
    row = await job_rows.find_job(pool, job_id, customer_id=None)
    assert row is not None
    assert (row.status, row.result, row.output_len) == ("succeeded", b"late", 4)
    assert not await woken(pool, job_id)


async def test_a_job_that_is_woken_and_cancelled_while_it_runs_does_not_run_again(pool: asyncpg.Pool) -> None:
    job_id = await enqueue(pool)
    [job] = await claim(pool)
    assert await woken(pool, job_id)
    await cancel_running(pool, job_id)
    assert await jobs.succeed(pool, job, result=b"", output_len=None, ticket=None, month=None)
    assert await state(pool, job_id) == "succeeded"


async def cancel_running(pool: asyncpg.Pool, job_id: UUID) -> None:
    assert await job_rows.cancel_job(pool, job_id, customer_id=None) == "running"


async def test_a_blocked_job_is_tried_again_in_the_new_month_at_the_latest(pool: asyncpg.Pool) -> None:
    await enqueue(pool)
    [job] = await claim(pool)
    await jobs.requeue(pool, job, wait_s=90 * 86_400, is_failure=False, pause="blocked", needs_nusd=1)
    assert await pool.fetchval(
        "select date_trunc('second', run_after at time zone 'UTC')"
        " = date_trunc('month', now() at time zone 'UTC') + interval '1 month 5 s' from kaixu.job"
    )


async def fail(pool: asyncpg.Pool, job_id: UUID) -> None:
    [job] = await claim(pool)
    assert await jobs.end(pool, job, "failed", code="X")


async def cancel(pool: asyncpg.Pool, job_id: UUID) -> None:
    assert await job_rows.cancel_job(pool, job_id, customer_id=None) == "cancelled"


async def lose(pool: asyncpg.Pool, job_id: UUID) -> None:
    for _ in range(jobs.MOST_LOSSES):
        assert len(await claim(pool)) == 1
        await pool.execute("update kaixu.job set leased_until = now() - interval '1 s'")
    assert await claim(pool) == []


async def expire(pool: asyncpg.Pool, job_id: UUID) -> None:
    await pool.execute("update kaixu.job set created_at = now() - interval '40 days'")
    await job_rows.prune_jobs(pool, ended_days=7, unended_days=30)


@pytest.mark.parametrize(
    ("end", "status", "code"),
    [
        (fail, "failed", "X"),
        (cancel, "cancelled", "JOB_CANCELLED"),
        (lose, "failed", "JOB_LOST"),
        (expire, "failed", "JOB_EXPIRED"),
    ],
    ids=["failed", "cancelled", "lost", "not ended in time"],
)
async def test_however_a_job_ends_without_success_that_is_to_be_handled_once(
    pool: asyncpg.Pool, end: Any, status: str, code: str
) -> None:
    job_id = await enqueue(pool, reports_failure=True)
    await end(pool, job_id)
    [due] = await failures.claim_failures(pool, [KIND], lease_s=60, most=9)
    assert (due.id, due.status, due.error_code) == (job_id, status, code)
    await failures.postpone_failure(pool, job_id, wait_s=0)
    # It stays until it was handled.
    await pool.execute("update kaixu.job set completed_at = now() - interval '8 days'")
    await job_rows.prune_jobs(pool, ended_days=7, unended_days=30)
    assert [one.id for one in await failures.claim_failures(pool, [KIND], lease_s=60, most=9)] == [job_id]
    assert await failures.note_handled(pool, job_id)
    assert not await failures.note_handled(pool, job_id)
    assert await job_rows.prune_jobs(pool, ended_days=7, unended_days=30) == 1


async def test_a_job_that_succeeds_or_handles_no_failures_has_none_to_be_handled(pool: asyncpg.Pool) -> None:
    await enqueue(pool, reports_failure=True)
    await succeed(pool, (await claim(pool))[0])
    await fail(pool, await enqueue(pool))
    assert await failures.claim_failures(pool, [KIND], lease_s=60, most=9) == []
