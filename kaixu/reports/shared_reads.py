"""Equal reports that are asked for at the same time are read once: ten open dashboards cost as much as one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar

Answer = TypeVar("Answer")


class SharedReads:
    """Runs at most one read of each question at a time.

    A read that already runs may have missed what has been committed since, so whoever comes meanwhile waits for the
    next one, together with all others who wait: every answer is read after its question was asked.
    """

    def __init__(self) -> None:
        self._running: dict[Hashable, asyncio.Task[Any]] = {}
        self._waiting: dict[Hashable, asyncio.Task[Any]] = {}

    async def read(self, question: Hashable, read: Callable[[], Awaitable[Answer]]) -> Answer:
        """The answer to `question`, by the `read` of whoever asked first. Raises what that read raises."""
        task = self._waiting.get(question)
        if task is None:
            running = self._running.get(question)
            task = asyncio.ensure_future(self._read(question, read, after=running))
            self._waiting[question] = task
            task.add_done_callback(self._ended)
        answer: Answer = await asyncio.shield(task)  # a client that leaves does not take the answer from the others
        return answer

    async def _read(
        self, question: Hashable, read: Callable[[], Awaitable[Answer]], *, after: asyncio.Task[Any] | None
    ) -> Answer:
        if after is not None:
            await asyncio.wait([after])
        self._running[question] = self._waiting.pop(question)
        try:
            return await read()
        finally:
            del self._running[question]

    @staticmethod
    def _ended(task: asyncio.Task[Any]) -> None:
        """Take the failure of a read whose clients have all left, so that it is not reported as forgotten."""
        if not task.cancelled():
            task.exception()
