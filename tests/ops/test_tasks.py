"""Background work that repeats."""

from __future__ import annotations

import asyncio
import logging

import pytest

from kaixu.ops.tasks import every
from kaixu.plugin.errors import DatabaseAway

AWAY = DatabaseAway("the database does not answer")


async def test_an_outage_of_the_database_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    outcomes: list[Exception | None] = [AWAY, AWAY, AWAY, None, AWAY, RuntimeError("a fault")]
    ended = asyncio.Event()

    async def round() -> None:
        if not outcomes:
            ended.set()
            await asyncio.Event().wait()
        outcome = outcomes.pop(0)
        if outcome is not None:
            raise outcome

    task = asyncio.create_task(every(0, round, "upkeep"))
    await asyncio.wait_for(ended.wait(), 5)
    task.cancel()
    assert [(one.levelno, one.getMessage(), one.exc_info is None) for one in caplog.records] == [
        (logging.WARNING, "upkeep waits: the database does not answer", True),
        (logging.WARNING, "upkeep waits: the database does not answer", True),
        (logging.ERROR, "upkeep failed", False),
    ]
