"""Equal reports at the same time are read once, and never before they were asked for."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from kaixu.reports.shared_reads import SharedReads


class Source:
    """A value that changes, and reads of it that end when they are told to."""

    def __init__(self) -> None:
        self.value = 0
        self.reads = 0
        self.may_end = asyncio.Event()

    async def read(self) -> int:
        """What the value was when the read began."""
        self.reads += 1
        value = self.value
        await self.may_end.wait()
        return value


async def turns() -> None:
    """Let the other tasks run until they wait."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_those_who_come_during_a_read_share_the_next_one_and_see_what_was_written_before_they_asked() -> None:
    shared, source = SharedReads(), Source()
    first = asyncio.ensure_future(shared.read("chart", source.read))
    await turns()
    source.value = 1
    later = [asyncio.ensure_future(shared.read("chart", source.read)) for _ in range(20)]
    await turns()
    source.may_end.set()
    assert await first == 0
    assert await asyncio.gather(*later) == [1] * 20
    assert source.reads == 2


async def test_other_questions_do_not_wait() -> None:
    shared, slow, quick = SharedReads(), Source(), Source()
    waiting = asyncio.ensure_future(shared.read("slow", slow.read))
    await turns()
    quick.may_end.set()
    assert await shared.read("quick", quick.read) == 0
    assert not waiting.done()
    slow.may_end.set()
    assert await waiting == 0


async def test_a_client_that_leaves_takes_nothing_from_the_others() -> None:
    shared, source = SharedReads(), Source()
    leaving = asyncio.ensure_future(shared.read("chart", source.read))
    staying = asyncio.ensure_future(shared.read("chart", source.read))
    await turns()
    leaving.cancel()
    with suppress(asyncio.CancelledError):
        await leaving
    source.may_end.set()
    assert await staying == 0
    assert source.reads == 1


async def test_a_read_that_fails_fails_for_all_who_waited_for_it_and_the_next_one_is_tried() -> None:
    shared, source = SharedReads(), Source()
    source.may_end.set()

    async def broken() -> int:
        raise LookupError("the database is away")

    both = await asyncio.gather(shared.read("chart", broken), shared.read("chart", broken), return_exceptions=True)
    assert [type(one) for one in both] == [LookupError, LookupError]
    assert await shared.read("chart", source.read) == 0


async def test_answers_are_not_kept() -> None:
    shared, source = SharedReads(), Source()
    source.may_end.set()
    assert await shared.read("chart", source.read) == 0
    source.value = 1
    assert await shared.read("chart", source.read) == 1


@pytest.mark.filterwarnings("error")
async def test_a_failure_that_nobody_waits_for_is_not_reported_as_forgotten() -> None:
    shared = SharedReads()
    may_fail = asyncio.Event()

    async def broken() -> int:
        await may_fail.wait()
        raise LookupError("the database is away")

    leaving = asyncio.ensure_future(shared.read("chart", broken))
    await turns()
    leaving.cancel()
    with suppress(asyncio.CancelledError):
        await leaving
    may_fail.set()
    await turns()
