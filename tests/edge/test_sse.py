"""Streams: bounded, with pings, and settled however the client disconnects."""

from __future__ import annotations

import asyncio
import gc
from math import inf

import pytest

from kaixu.edge import sse
from kaixu.edge.sse import MAX_BUFFERED_BYTES, EventStream, frame


class Settled:
    """Counts how the task ended."""

    def __init__(self) -> None:
        self.ended = 0
        self.abandoned = 0

    async def abandon(self) -> None:
        self.abandoned += 1


def stream(settled: Settled, count: int, size: int = 10, *, drain: bool = False) -> EventStream:
    """A body of `count` frames."""

    async def make(out: EventStream) -> None:
        out.started = True
        try:
            for at in range(count):
                await out.put(frame("delta", {"text": "x" * size, "at": at}))
                await asyncio.sleep(0)
        finally:
            settled.ended += 1

    return EventStream(make, settled.abandon, read_on_s=lambda: inf if drain else 0.0)


async def test_frames_come_in_order_and_with_lf_only() -> None:
    settled = Settled()
    data = b"".join([chunk async for chunk in stream(settled, 20)])
    assert data.count(b"\n\n") == 20
    assert b"\r" not in data
    assert settled.ended == 1


async def test_a_slow_reader_stops_the_task() -> None:
    settled = Settled()
    made = 0

    async def make(out: EventStream) -> None:
        nonlocal made
        out.started = True
        for _ in range(1000):
            await out.put(b"x" * 1000)
            made += 1

    body = EventStream(make, settled.abandon)
    await anext(body)
    for _ in range(50):
        await asyncio.sleep(0)
    assert made * 1000 <= 2 * MAX_BUFFERED_BYTES + 2000
    await body.aclose()


async def test_a_reader_that_leaves_cancels_the_task_and_waits_for_its_end() -> None:
    settled = Settled()
    body = stream(settled, 10**6)
    await anext(body)
    await body.aclose()
    assert (settled.ended, settled.abandoned) == (1, 0)


async def test_a_draining_stream_goes_on_without_its_reader() -> None:
    settled = Settled()
    body = stream(settled, 200, drain=True)
    await anext(body)
    await body.aclose()
    assert settled.ended == 0
    assert body._task is not None
    await body._task
    assert settled.ended == 1


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "dropped"])
async def test_a_body_that_is_never_begun_is_abandoned_once(closed: bool) -> None:
    settled = Settled()
    body = stream(settled, 3)
    if closed:
        await body.aclose()
        await body.aclose()
    del body
    gc.collect()
    for _ in range(5):
        await asyncio.sleep(0)
    assert (settled.ended, settled.abandoned) == (0, 1)


async def test_a_silent_stream_is_pinged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "PING_S", 0.01)
    settled = Settled()

    async def make(out: EventStream) -> None:
        out.started = True
        await asyncio.sleep(3600)

    body = EventStream(make, settled.abandon)
    assert (await anext(body)).startswith(b": ping")
    await body.aclose()


async def test_a_stream_that_falls_silent_again_is_pinged_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "PING_S", 0.01)
    settled, goes_on = Settled(), asyncio.Event()

    async def make(out: EventStream) -> None:
        out.started = True
        await out.put(b"first ")
        await goes_on.wait()
        await out.put(b"second ")
        await asyncio.sleep(3600)

    body, got = EventStream(make, settled.abandon), b""
    while got.count(sse.comment()) < 4:
        got += await anext(body)
        if got.count(sse.comment()) == 2:
            goes_on.set()
    await body.aclose()
    assert got.replace(sse.comment(), b"") == b"first second "
    assert got.index(sse.comment()) < got.index(b"second ") < got.rindex(sse.comment())
