"""Background work that repeats."""

from __future__ import annotations

import asyncio
import logging

import pytest

from kaixu.ops.tasks import Tasks, every
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


async def test_the_end_of_a_task_is_told_also_if_it_was_cancelled_before_it_began() -> None:
    tasks, ended = Tasks(), list[str]()

    async def work() -> None:
        await asyncio.Event().wait()

    tasks.spawn(work(), "begun", ended=lambda: ended.append("begun"))
    await asyncio.sleep(0)
    tasks.spawn(work(), "not begun", ended=lambda: ended.append("not begun"))
    await tasks.stop()
    assert sorted(ended) == ["begun", "not begun"]
