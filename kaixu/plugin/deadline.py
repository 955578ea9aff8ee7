"""A time limit for what a block waits for: as `asyncio.timeout_at`, at about a third of its cost.

A call passes several of them, so they are a measurable part of its time.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any


class Deadline:
    """`with Deadline(at):` raises `TimeoutError` if the block still waits at `at`, in the event loop's time.

    Only for one block of one task. The block itself is cancelled, as with `asyncio.timeout_at`; a cancellation from
    elsewhere remains one.
    """

    __slots__ = ("_at", "_cancelling", "_handle", "_is_over", "_task")

    def __init__(self, at: float) -> None:
        self._at = at
        self._is_over = False

    def __enter__(self) -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None
        self._task: asyncio.Task[Any] = task
        self._cancelling = task.cancelling()
        self._handle = loop.call_at(self._at, self._end)

    def _end(self) -> None:
        self._is_over = True
        self._task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._handle.cancel()
        is_ours = self._is_over and self._task.uncancel() <= self._cancelling
        if is_ours and kind is not None and issubclass(kind, asyncio.CancelledError):
            raise TimeoutError from error


def within(seconds: float) -> Deadline:
    """A deadline that is `seconds` from now."""
    return Deadline(asyncio.get_running_loop().time() + seconds)
