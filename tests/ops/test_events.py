"""The monitor's queue: each event is written once, also if the writer is cancelled."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

import pytest

from kaixu.ops.events import Monitor, MonitorEvent
from kaixu.plugin.errors import DatabaseAway


async def test_a_stop_in_the_middle_of_a_write_loses_no_event_and_writes_none_twice() -> None:
    writing, go_on = asyncio.Event(), asyncio.Event()
    written: list[str] = []

    async def write(events: Sequence[MonitorEvent], batch_id: object = None) -> None:
        writing.set()
        await go_on.wait()
        written.extend(event.kind for event in events)

    monitor = Monitor(write)
    loop = asyncio.create_task(monitor.run())
    monitor.record(MonitorEvent(kind="first"))
    await writing.wait()
    monitor.record(MonitorEvent(kind="second"))
    loop.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await loop
    last = asyncio.create_task(monitor.flush())
    await asyncio.sleep(0)
    assert written == []
    go_on.set()
    assert await last
    assert written == ["first", "second"]


async def test_an_outage_of_the_database_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    away = DatabaseAway("the database does not answer")
    outcomes: list[Exception | None] = [away, away, None, None, away]  # the batch that failed is tried again as it was

    async def write(events: Sequence[MonitorEvent], batch_id: object = None) -> None:
        outcome = outcomes.pop(0)
        if outcome is not None:
            raise outcome

    monitor = Monitor(write)
    for expected in (False, False, True, False):
        monitor.record(MonitorEvent(kind="alert"))
        assert await monitor.flush() is expected
    assert [record.getMessage() for record in caplog.records] == [
        "monitor events wait for the database: the database does not answer"
    ] * 2


async def test_an_outage_after_a_malformed_event_loses_no_other_event() -> None:
    written: list[str] = []
    is_away = False

    async def write(events: Sequence[MonitorEvent], batch_id: object = None) -> None:
        nonlocal is_away
        kinds = [event.kind for event in events]
        if "malformed" in kinds:
            is_away = kinds == ["malformed"]
            raise ValueError("cannot be encoded")
        if is_away:
            raise DatabaseAway("the database does not answer")
        written.extend(kinds)

    monitor = Monitor(write)
    for kind in ("first", "malformed", "second", "third"):
        monitor.record(MonitorEvent(kind=kind))
    assert not await monitor.flush()
    assert (written, monitor.waiting) == (["first"], 3)
    is_away = False
    assert await monitor.flush()
    assert written == ["first", "second", "third", "dropped"]
    assert (monitor.dropped, monitor.waiting) == (1, 0)
