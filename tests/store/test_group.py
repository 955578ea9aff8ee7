"""Calls that arrive together go in one batch, and each caller learns its answer, however it ends."""

from __future__ import annotations

import asyncio

import pytest

from kaixu.plugin.errors import Stopping
from kaixu.store.group import Group


class Database:
    """Answers a batch with its own items, once it may."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.may_answer = asyncio.Event()
        self.is_asked = asyncio.Event()

    async def send(self, items: list[int]) -> list[int | Exception]:
        """One batch."""
        self.batches.append(items)
        self.is_asked.set()
        await self.may_answer.wait()
        return list(items)


async def ask(group: Group[int, int], item: int, learned: list[int]) -> None:
    """A caller that undoes what was done if it is cancelled."""
    answer = group.put(item)
    try:
        await answer
    except asyncio.CancelledError:
        learned.append(answer.result())
        raise


async def test_what_arrives_while_a_batch_is_under_way_goes_with_the_next_one() -> None:
    database = Database()
    group = Group(database.send)
    first = group.put(1)
    await database.is_asked.wait()
    others = [group.put(2), group.put(3)]
    database.may_answer.set()
    assert [await first, *[await one for one in others]] == [1, 2, 3]
    assert database.batches == [[1], [2, 3]]


async def test_a_caller_that_is_cancelled_learns_the_answer_first() -> None:
    database, learned = Database(), list[int]()
    caller = asyncio.create_task(ask(Group(database.send), 1, learned))
    await database.is_asked.wait()
    caller.cancel()
    await asyncio.sleep(0)
    assert not caller.done()
    database.may_answer.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert learned == [1]


async def test_when_the_event_loop_ends_nobody_waits_for_ever() -> None:
    database = Database()
    group = Group(database.send)
    before = asyncio.all_tasks()
    waiting = group.put(1)
    await database.is_asked.wait()
    next_one = group.put(2)
    for task in asyncio.all_tasks() - before:
        task.cancel()
    for answer in (waiting, next_one):
        with pytest.raises(Stopping):
            await answer
