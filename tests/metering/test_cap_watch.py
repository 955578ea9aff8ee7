"""Caps are checked a moment after their calls, with few queries, and not lost while the database is away."""

from __future__ import annotations

import asyncio
from datetime import date
from typing import Any, cast

import asyncpg
import msgspec
import pytest

from kaixu.metering import cap_watch
from kaixu.metering.cap_marks import CapMarks
from kaixu.metering.cap_watch import CapWatch
from kaixu.metering.month import Figures
from kaixu.store.admission import Verdict
from kaixu.store.cap_alerts import CheckedCap
from kaixu.store.clock import this_month
from tests.support.calls import admit
from tests.support.money import customer, virtual_key


class Database:
    """A database that is away for the first statements, and counts the others."""

    def __init__(self, pool: asyncpg.Pool, failures: int = 0) -> None:
        self.pool = pool
        self.failures = failures
        self.statements = 0

    def count(self) -> None:
        if self.failures:
            self.failures -= 1
            raise ConnectionRefusedError
        self.statements += 1

    async def fetch(self, *arguments: Any) -> object:
        self.count()
        return await self.pool.fetch(*arguments)

    async def fetchval(self, *arguments: Any) -> object:
        self.count()
        return await self.pool.fetchval(*arguments)


def watch_of(database: Database) -> CapWatch:
    return CapWatch(cast(asyncpg.Pool, database), lambda: [50, 85, 100])


async def spend(pool: asyncpg.Pool, watch: CapWatch, customer_id: int, spent_nusd: int, cap_nusd: int = 1000) -> None:
    """A call after which so much is spent, as the gateway sees it."""
    month = await this_month(pool)
    await pool.execute(
        """
        insert into kaixu.customer_month (customer_id, month, spent_nusd) values ($1, $2, $3)
        on conflict (customer_id, month, book) do update set spent_nusd = excluded.spent_nusd
        """,
        customer_id,
        month,
        spent_nusd,
    )
    watch.settled(customer_id, 1, Figures(month, cap_nusd, spent_nusd, 0, None, 0, 0))


async def told(pool: asyncpg.Pool) -> list[str]:
    return [row["type"] for row in await pool.fetch("select type from kaixu.alert order by id")]


async def test_calls_below_the_next_threshold_ask_nothing(pool: asyncpg.Pool) -> None:
    database = Database(pool)
    watch = watch_of(database)
    customer_id = await customer(pool, cap_nusd=1000)
    for spent in range(0, 1200, 10):
        await spend(pool, watch, customer_id, spent)
        await watch.flush()
    assert database.statements == 4  # the first call, and each threshold
    assert await told(pool) == ["CAP_WARN_CUSTOMER", "CAP_WARN_CUSTOMER", "CAP_REACHED_CUSTOMER"]


async def test_many_calls_are_one_statement(pool: asyncpg.Pool) -> None:
    database = Database(pool)
    watch = watch_of(database)
    for _ in range(20):
        customer_id = await customer(pool, cap_nusd=1000)
        for spent in (10, 20):
            await spend(pool, watch, customer_id, spent)
    await watch.flush()
    assert database.statements == 1


async def test_a_changed_cap_is_asked_for_again(pool: asyncpg.Pool) -> None:
    watch = watch_of(Database(pool))
    customer_id = await customer(pool, cap_nusd=1000)
    await spend(pool, watch, customer_id, 400)
    await watch.flush()
    await pool.execute("update kaixu.customer set monthly_cap_nusd = 500")
    await spend(pool, watch, customer_id, 410, cap_nusd=500)
    await watch.flush()
    assert await told(pool) == ["CAP_WARN_CUSTOMER"]


async def test_an_alert_of_a_reached_cap_is_raised_when_the_database_is_back(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No call is admitted after a reached cap, so no settlement would raise the alert later."""
    monkeypatch.setattr(cap_watch, "RETRY_S", 0.01)
    monkeypatch.setattr(cap_watch, "GATHER_S", 0.01)
    watch = watch_of(Database(pool, failures=3))
    customer_id = await customer(pool, cap_nusd=1000)
    await spend(pool, watch, customer_id, 1000)
    task = asyncio.ensure_future(watch.run())
    async with asyncio.timeout(10):
        while not await told(pool):
            await asyncio.sleep(0.01)
    task.cancel()
    assert await told(pool) == ["CAP_REACHED_CUSTOMER"]


async def refusal(pool: asyncpg.Pool, key_id: int) -> Verdict:
    _, verdict = await admit(pool, key_id, most=10**9)
    assert verdict.refused == "CAP_REACHED"
    return verdict


@pytest.mark.parametrize("scope", ["customer", "key"])
async def test_refusals_are_told_once_however_many_there_are(pool: asyncpg.Pool, scope: str) -> None:
    database = Database(pool)
    watch = watch_of(database)
    caps = {"cap_nusd": 1000} if scope == "customer" else {}
    limits = {"monthly_cap_nusd": 500} if scope == "key" else {}
    key_id, _ = await virtual_key(pool, await customer(pool, **caps), **limits)
    verdict = await refusal(pool, key_id)
    for _ in range(1000):
        watch.refuses(verdict)
    await watch.flush()
    assert database.statements == 1
    alert = await pool.fetchrow("select type, key_id from kaixu.alert")
    assert alert is not None
    assert tuple(alert) == (f"CALLS_REFUSED_{scope.upper()}", key_id if scope == "key" else None)


async def test_refusals_by_another_cap_are_not_told(pool: asyncpg.Pool) -> None:
    watch = watch_of(Database(pool))
    key_id, _ = await virtual_key(pool, await customer(pool, cap_nusd=1000))
    verdict = await refusal(pool, key_id)
    for scope in ("end_user", "a new one", None):
        watch.refuses(msgspec.structs.replace(verdict, scope=scope))
    assert not watch.refused


async def test_what_is_remembered_is_bounded(pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cap_watch, "MOST_WAITING", 3)
    monkeypatch.setattr(cap_watch, "MOST_KNOWN", 2)
    watch = watch_of(Database(pool))
    month = date(2026, 11, 1)
    for at in range(10):
        watch.check(at, 0, month, 1, 2)
    assert len(watch.spent) == 3
    for _ in range(3):
        await spend(pool, watch, await customer(pool, cap_nusd=1000), 1)
        await watch.flush()
    assert len(watch.marks) <= 2


def test_a_mark_is_of_one_cap_as_high_as_it_was_in_the_newest_month() -> None:
    marks, october, november = CapMarks(10), date(2026, 10, 1), date(2026, 11, 1)
    marks.remember([CheckedCap(1, 0, november, 1000, 800), CheckedCap(1, 2, november, 500, None)])
    marks.remember([CheckedCap(3, 0, october, 1000, 800)])
    assert marks.is_below(1, 0, november, 799, 1000)
    assert not marks.is_below(1, 0, november, 800, 1000)
    assert not marks.is_below(1, 0, november, 799, 1001)
    assert not marks.is_below(1, 0, october, 1, 1000)
    assert not marks.is_below(3, 0, october, 1, 1000)
    assert marks.is_below(1, 2, november, 10**18, 500)
    assert not marks.is_below(2, 1, november, 1, 500)
    marks.remember([CheckedCap(1, 0, date(2026, 12, 1), 1000, 800)])
    assert len(marks) == 1
