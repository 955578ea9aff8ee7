"""Deadlines end what waits too long, and nothing else."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext, suppress
from math import inf
from typing import Any

import pytest

import kaixu.plugin.deadline as deadlines
from kaixu.plugin.deadline import CallTimer, Deadline, within


async def forever() -> None:
    """Wait without end."""
    await asyncio.Event().wait()


async def test_what_waits_too_long_is_a_timeout_and_the_task_goes_on() -> None:
    with pytest.raises(TimeoutError), within(0.01):
        await forever()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)


async def test_a_deadline_that_has_passed_ends_the_next_wait() -> None:
    with pytest.raises(TimeoutError), Deadline(asyncio.get_running_loop().time() - 1):
        await forever()


async def test_what_ends_in_time_is_left_alone_afterwards() -> None:
    with within(0.01):
        pass
    await asyncio.sleep(0.05)


async def test_a_cancellation_from_elsewhere_stays_one() -> None:
    async def work() -> None:
        with within(60):
            await forever()

    task = asyncio.ensure_future(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_beside_a_deadline_that_is_over_stays_one() -> None:
    is_over = asyncio.Event()

    async def work() -> None:
        with within(0):
            try:
                await forever()
            except asyncio.CancelledError:
                is_over.set()
                await forever()

    task = asyncio.ensure_future(work())
    await is_over.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_another_exception_is_passed_on() -> None:
    with pytest.raises(LookupError), within(60):
        raise LookupError


async def test_the_inner_one_of_two_ends_first_and_the_outer_one_still_holds() -> None:
    async def inner() -> None:
        with within(0.01):
            await forever()

    async def outer() -> None:
        with within(0.05):
            with pytest.raises(TimeoutError):
                await inner()
            await forever()

    with pytest.raises(TimeoutError):
        await outer()


async def test_the_deadlines_of_a_call_share_one_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    timers: list[float] = []
    call_at = loop.call_at

    def counted(when: float, *arguments: Any, **more: Any) -> asyncio.TimerHandle:
        timers.append(when)
        return call_at(when, *arguments, **more)

    monkeypatch.setattr(loop, "call_at", counted)
    with CallTimer():
        for _ in range(20):
            with within(60), within(600) as later:
                later.restart(500)
    assert len(timers) == 1


async def test_each_deadline_of_a_call_ends_its_own_block() -> None:
    with CallTimer():
        with pytest.raises(TimeoutError), within(60), within(60), within(0.01):
            await forever()
        with pytest.raises(TimeoutError), within(0.01), within(60):
            await forever()
        await asyncio.sleep(0)
    assert cancelling() == 0


async def test_the_outermost_of_deadlines_that_are_over_ends_its_block() -> None:
    async def inner() -> None:
        with within(0.01):
            await forever()

    with CallTimer(), pytest.raises(TimeoutError) as raised, within(0.01):
        await inner()
    assert isinstance(raised.value.__cause__, asyncio.CancelledError)
    assert cancelling() == 0


@pytest.mark.parametrize("shares", [True, False], ids=["with a call's timer", "alone"])
async def test_a_deadline_that_is_moved_ends_the_block_then(shares: bool) -> None:
    with CallTimer() if shares else nullcontext():
        with within(0.01) as deadline:
            deadline.move(inf)
            await asyncio.sleep(0.05)
            deadline.restart(60)
            await asyncio.sleep(0.05)
        with pytest.raises(TimeoutError), within(60) as deadline:
            await restarted(deadline)
    assert cancelling() == 0


@pytest.mark.parametrize("shares", [True, False], ids=["with a call's timer", "alone"])
async def test_a_cancellation_in_the_same_turn_as_the_end_of_the_time_is_not_lost(shares: bool) -> None:
    loop = asyncio.get_running_loop()

    async def work() -> None:
        with CallTimer() if shares else nullcontext(), within(0):
            await forever()

    task = asyncio.ensure_future(work())
    await asyncio.sleep(0)  # the deadline has begun
    loop.call_at(loop.time(), task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_work_that_ends_in_the_same_turn_as_its_time_is_over_is_a_timeout_or_a_success() -> None:
    loop = asyncio.get_running_loop()
    for delay_s in (0.0, 0.001, 0.002):
        done = loop.create_future()
        with CallTimer(), suppress(TimeoutError), within(delay_s):
            loop.call_at(loop.time() + delay_s, done.set_result, None)
            await done
        assert cancelling() == 0
        await asyncio.sleep(0)  # a cancellation that was left behind would come here


async def test_no_deadline_ends_anything_after_its_block() -> None:
    with CallTimer():
        with within(0.01):
            pass
        await asyncio.sleep(0.05)
        with pytest.raises(LookupError), within(0.01):
            raise LookupError
        await asyncio.sleep(0.05)
    await asyncio.sleep(0)


async def test_a_task_that_a_call_starts_has_deadlines_of_its_own() -> None:
    async def started() -> None:
        with within(0.01):
            await forever()

    with CallTimer():
        task = asyncio.ensure_future(started())
        with within(60), pytest.raises(TimeoutError):
            await task
    assert cancelling() == 0


async def test_a_long_deadline_is_kept_though_the_timer_looks_earlier(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "FIRST_LOOK_S", 0.01)
    monkeypatch.setattr(deadlines, "LOOK_AGAIN_S", 0.01)
    began = asyncio.get_running_loop().time()
    with CallTimer(), pytest.raises(TimeoutError), within(0.1):
        await forever()
    assert asyncio.get_running_loop().time() - began >= 0.09


async def test_deadlines_may_be_left_in_another_order() -> None:
    with CallTimer():
        first, second = within(60), within(60)
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        with pytest.raises(TimeoutError), within(0.01):
            await forever()
        second.restart(0.01)
        with pytest.raises(asyncio.CancelledError):
            await forever()
        with pytest.raises(TimeoutError):
            second.__exit__(asyncio.CancelledError, asyncio.CancelledError(), None)
    assert cancelling() == 0


async def test_a_reminder_comes_once_and_not_after_the_call() -> None:
    reminded: list[str] = []
    with CallTimer() as timer:
        timer.remind(0.01, lambda: reminded.append("first"))
        with within(60):
            await asyncio.sleep(0.05)
        timer.remind(0.01, lambda: reminded.append("forgotten"))
        timer.forget_reminder()
        await asyncio.sleep(0.05)
        timer.remind(0.01, lambda: reminded.append("left"))
    await asyncio.sleep(0.05)
    assert reminded == ["first"]


async def restarted(deadline: Deadline) -> None:
    """Wait without end, within a new time."""
    deadline.restart(0.01)
    await forever()


def cancelling() -> int:
    """How many cancellations of this task are asked for and not withdrawn."""
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling()


@pytest.mark.parametrize("shared", [True, False], ids=["a call's timer", "its own timer"])
async def test_a_deadline_that_is_entered_again_begins_again(shared: bool) -> None:
    with CallTimer() if shared else nullcontext():
        limit = within(0.05)
        for _ in range(3):
            with limit:
                await asyncio.sleep(0)
        for _ in range(2):
            with pytest.raises(TimeoutError), limit:
                await forever()
        with limit:
            await asyncio.sleep(0)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
