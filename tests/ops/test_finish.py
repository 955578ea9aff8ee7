"""What must not be lost goes on when the task that waits for it is cancelled."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from kaixu.ops.finish import finish, follow


async def waiting(wait: Callable[[Any], Awaitable[Any]], work: asyncio.Task[int]) -> asyncio.Task[Any]:
    """A task that has begun to wait for `work`."""

    async def awaited() -> Any:
        return await wait(work)

    task = asyncio.create_task(awaited())
    await asyncio.sleep(0)
    return task


async def work(may_end: asyncio.Event, *, fails: bool = False) -> int:
    """Ends when it may."""
    await may_end.wait()
    if fails:
        raise ValueError("it failed")
    return 7


@pytest.mark.parametrize("wait", [finish, follow])
async def test_the_result_is_passed_on(wait: Callable[[Any], Awaitable[Any]]) -> None:
    may_end = asyncio.Event()
    waiter = await waiting(wait, asyncio.create_task(work(may_end)))
    may_end.set()
    assert await waiter == 7


async def test_who_follows_a_task_may_leave_and_it_goes_on() -> None:
    may_end = asyncio.Event()
    task = asyncio.create_task(work(may_end))
    waiter = await waiting(follow, task)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    may_end.set()
    assert await task == 7


async def test_who_finishes_a_task_leaves_at_its_end() -> None:
    may_end = asyncio.Event()
    task = asyncio.create_task(work(may_end))
    waiter = await waiting(finish, task)
    for _ in range(2):
        waiter.cancel()
        await asyncio.sleep(0)
        assert not waiter.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert task.result() == 7


@pytest.mark.parametrize("wait", [finish, follow])
async def test_a_failure_that_nobody_waits_for_any_more_is_no_warning(wait: Callable[[Any], Awaitable[Any]]) -> None:
    problems: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
    may_end = asyncio.Event()
    task = asyncio.create_task(work(may_end, fails=True))
    waiter = await waiting(wait, task)
    waiter.cancel()
    await asyncio.sleep(0)
    may_end.set()
    await asyncio.wait([task, waiter])
    del task
    gc.collect()
    assert problems == []
