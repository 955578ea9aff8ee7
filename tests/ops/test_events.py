"""The monitor's queue: each event is written once, also if the writer is cancelled."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from kaixu.ops.events import Monitor, MonitorEvent


async def test_a_stop_in_the_middle_of_a_write_loses_no_event_and_writes_none_twice() -> None:
    writing, go_on = asyncio.Event(), asyncio.Event()
    written: list[str] = []

    async def write(events: Sequence[MonitorEvent]) -> None:
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
