"""A deployment that goes down, and one that is back, is told once by all gateways together."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import asyncpg
import pytest

from kaixu.catalog.catalog import Deployment
from kaixu.metering.recent_calls import FAILURES_LATER, LEAST_FAILURES, RecentCalls
from kaixu.metering.vendor_watch import VendorWatch
from kaixu.plugin.errors import DatabaseAway, UpstreamError
from kaixu.store.vendor_state import VendorReport, note_vendor_calls, prune_vendor_state


class Lane:
    """A lane's name."""

    name = "up"


class Place:
    """A deployment, as far as recent calls need it."""

    def __init__(self, upstream: str = "gpt") -> None:
        self.state = Lane()
        self.upstream = upstream
        self.model = "m"
        self.name = "up"


PLACE = cast(Deployment, Place())
FAILURE = UpstreamError("the vendor failed")
FAILURE.upstream_status = 503


class Gateway:
    """One gateway's view of its deployments."""

    def __init__(self, pool: asyncpg.Pool, *, back_s: float = 0.0) -> None:
        self.recent = RecentCalls()
        self.watch = VendorWatch(pool, self.recent, back_s=back_s)

    async def fail(self, times: int = 1, place: Deployment = PLACE) -> None:
        for _ in range(times):
            self.recent.failed(place, FAILURE)
        await self.watch.round()

    async def answer(self, times: int = 1, place: Deployment = PLACE) -> None:
        for _ in range(times):
            self.recent.answered(place)
        await self.watch.round()


async def told(pool: asyncpg.Pool) -> list[str]:
    return [row["type"] for row in await pool.fetch("select type from kaixu.alert order by id")]


async def pass_time(pool: asyncpg.Pool, seconds: int) -> None:
    """Let this time pass since everything that is in the table."""
    await pool.execute(
        """
        update kaixu.vendor_state
           set since = since - make_interval(secs => $1), failed_at = failed_at - make_interval(secs => $1),
               answered_at = answered_at - make_interval(secs => $1)
        """,
        float(seconds),
    )


async def test_gateways_that_report_different_deployments_do_not_wait_for_each_other(pool: asyncpg.Pool) -> None:
    """Each also looks whether the other one's deployment is back."""
    places = "abcd"
    await pool.execute(
        """
        insert into kaixu.vendor_state (lane, upstream, is_down, answered_at)
        select 'up', u, true, now() from unnest($1::text[]) u
        """,
        list(places),
    )

    async def report(place: str) -> None:
        seen = VendorReport("up", place, is_failing=False, has_failed=False, has_answered=True, reason=None)
        for _ in range(40):
            assert ("up", place) in await note_vendor_calls(pool, [seen], back_s=1000)

    await asyncio.gather(*map(report, places))


async def test_an_outage_that_all_gateways_see_is_told_once_and_so_is_its_end(pool: asyncpg.Pool) -> None:
    gateways = [Gateway(pool) for _ in range(3)]
    for _ in range(3):
        await asyncio.gather(*(one.fail(LEAST_FAILURES) for one in gateways))
    assert await told(pool) == ["VENDOR_DOWN"]
    body = await pool.fetchval("select body from kaixu.alert")
    assert body == {"provider": "up", "upstream": "gpt", "reason": "UPSTREAM_ERROR, the vendor answered 503"}
    await asyncio.gather(*(one.answer() for one in gateways))
    await asyncio.gather(*(one.answer() for one in gateways))
    assert await told(pool) == ["VENDOR_DOWN", "VENDOR_BACK"]


async def test_single_failures_are_no_outage(pool: asyncpg.Pool) -> None:
    gateway = Gateway(pool)
    for _ in range(5):
        await gateway.answer()
        await gateway.fail(FAILURES_LATER - 1)
    assert await told(pool) == []


async def test_a_deployment_is_not_back_while_one_gateway_still_sees_it_fail(pool: asyncpg.Pool) -> None:
    here, there = Gateway(pool, back_s=30), Gateway(pool, back_s=30)
    await here.fail(LEAST_FAILURES)
    for _ in range(4):
        await there.answer()
        await pass_time(pool, 20)
        await here.fail()
        await pass_time(pool, 20)
    assert await told(pool) == ["VENDOR_DOWN"]
    await here.answer()
    await pass_time(pool, 31)
    await there.watch.round()
    assert await told(pool) == ["VENDOR_DOWN", "VENDOR_BACK"]


async def test_a_few_failures_among_many_answers_do_not_keep_it_down(pool: asyncpg.Pool) -> None:
    gateway = Gateway(pool, back_s=30)
    await gateway.fail(LEAST_FAILURES)
    for _ in range(8):
        await gateway.answer(20)
        await gateway.fail()
        await pass_time(pool, 5)
    assert await told(pool) == ["VENDOR_DOWN", "VENDOR_BACK"]


async def test_the_alarm_of_a_gateway_without_calls_does_not_begin_another_outage(pool: asyncpg.Pool) -> None:
    idle, busy = Gateway(pool), Gateway(pool)
    await idle.fail(LEAST_FAILURES)
    await busy.watch.round()
    await busy.answer()
    await busy.watch.round()
    for _ in range(3):
        await idle.watch.round()
    assert await told(pool) == ["VENDOR_DOWN", "VENDOR_BACK"]


async def test_a_vendor_that_comes_and_goes_is_told_less_and_less_often(pool: asyncpg.Pool) -> None:
    gateway = Gateway(pool, back_s=30)
    waited = []
    await gateway.fail(LEAST_FAILURES)
    for _ in range(3):
        await gateway.answer()
        seconds = 0
        while (await told(pool))[-1] == "VENDOR_DOWN":
            await pass_time(pool, 10)
            seconds += 10
            await gateway.watch.round()
        waited.append(seconds)
        await gateway.fail(FAILURES_LATER)
    assert waited == [30, 60, 120]


async def test_a_clock_that_is_set_back_does_not_keep_it_down(pool: asyncpg.Pool) -> None:
    gateway = Gateway(pool)
    await gateway.fail(LEAST_FAILURES)
    await gateway.answer()
    await pool.execute("update kaixu.vendor_state set is_down = true, answered_at = now() + interval '5 hours'")
    for _ in range(2):
        await gateway.watch.round()
    assert (await told(pool))[-1] == "VENDOR_BACK"
    assert await pool.fetchval("select is_down from kaixu.vendor_state") is False


async def test_deployments_are_told_each(pool: asyncpg.Pool) -> None:
    gateway = Gateway(pool)
    for upstream in ("one", "two"):
        gateway.recent.answered(cast(Deployment, Place("three")))
        await gateway.fail(LEAST_FAILURES, cast(Deployment, Place(upstream)))
    rows = await pool.fetch("select body->>'upstream' as upstream from kaixu.alert order by id")
    assert [row["upstream"] for row in rows] == ["one", "two"]


async def test_what_could_not_be_reported_is_reported_later(pool: asyncpg.Pool) -> None:
    class Away:
        async def fetch(self, *arguments: Any) -> Any:
            raise ConnectionRefusedError

    gateway = Gateway(pool)
    gateway.watch.pool = cast(asyncpg.Pool, Away())
    with pytest.raises(DatabaseAway):
        await gateway.fail(LEAST_FAILURES)
    gateway.watch.pool = pool
    await gateway.watch.round()
    assert await told(pool) == ["VENDOR_DOWN"]


async def test_deployments_that_are_gone_are_forgotten(pool: asyncpg.Pool) -> None:
    await Gateway(pool).fail(LEAST_FAILURES)
    await prune_vendor_state(pool, days=30)
    assert await pool.fetchval("select count(*) from kaixu.vendor_state") == 1
    await pass_time(pool, 31 * 86_400)
    await prune_vendor_state(pool, days=30)
    assert await pool.fetchval("select count(*) from kaixu.vendor_state") == 0
