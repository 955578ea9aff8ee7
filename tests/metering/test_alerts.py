"""Alerts about caps: raised once, and not lost while the database is away."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import asyncpg
import pytest

from kaixu.metering import alerts
from kaixu.metering.alerts import Alerts
from kaixu.ops.events import Monitor, MonitorEvent
from kaixu.ops.tasks import Tasks
from tests.support.settlements import settlement


class AwayAtFirst:
    """A database that is away for the first statements."""

    def __init__(self, pool: asyncpg.Pool, failures: int) -> None:
        self.pool = pool
        self.failures = failures

    async def fetchval(self, *arguments: Any) -> object:
        """What the database answers, once it is there."""
        if self.failures:
            self.failures -= 1
            raise ConnectionRefusedError
        return await self.pool.fetchval(*arguments)


async def test_an_alert_of_a_reached_cap_is_raised_when_the_database_is_back(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No call is admitted after a reached cap, so no settlement would raise the alert later."""
    monkeypatch.setattr(alerts, "RETRY_S", 0.01)

    async def write(events: Sequence[MonitorEvent], batch_id: object = None) -> None:
        return None

    tasks = Tasks()
    away = cast(asyncpg.Pool, AwayAtFirst(pool, failures=3))
    raising = Alerts(away, Monitor(write), tasks, warn_pct=80, to_webhook=True)
    for _ in range(2):
        raising.check_cap(settlement(), 0, 100, 100, "CUSTOMER")
    async with asyncio.timeout(10):
        while not await pool.fetchval("select count(*) from kaixu.alert_sent"):
            await asyncio.sleep(0.01)
    await tasks.stop()
    assert [row["event"] for row in await pool.fetch("select event from kaixu.webhook_delivery")] == [
        "CAP_REACHED_CUSTOMER"
    ]
