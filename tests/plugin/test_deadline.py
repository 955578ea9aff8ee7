"""Deadlines end what waits too long, and nothing else."""

from __future__ import annotations

import asyncio

import pytest

from kaixu.plugin.deadline import Deadline, within


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
