"""Background tasks: referenced while they run, and cancelled when the gateway stops."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine

from kaixu.plugin.errors import DatabaseAway

log = logging.getLogger(__name__)


class Tasks:
    """The tasks of one gateway."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def spawn(
        self, work: Coroutine[object, object, None], name: str, *, ended: Callable[[], None] | None = None
    ) -> None:
        """Run `work` in the background; what it raises is logged.

        `ended` is called when it has ended, also if it was cancelled before it began, when its `finally` is not run.
        """
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._running.add(task)
        if ended is not None:
            task.add_done_callback(lambda _: ended())
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("background task %s failed", task.get_name(), exc_info=task.exception())

    async def finish(self, max_s: float) -> None:
        """Wait for every task to end by itself, at most `max_s`; then stop."""
        if self._running:
            await asyncio.wait(list(self._running), timeout=max_s)
        await self.stop()

    async def stop(self) -> None:
        """Cancel every task and wait for it."""
        for task in list(self._running):
            task.cancel()
        if self._running:
            await asyncio.wait(list(self._running), timeout=10)


async def every(seconds: float | Callable[[], float], work: Callable[[], Awaitable[object]], what: str) -> None:
    """Repeat `work` with a pause of `seconds`; a function is asked before each pause.

    A failure is logged under `what`, and the next round follows. An outage of the database is logged once, in one line.
    """
    away = False
    while True:
        await asyncio.sleep(seconds() if callable(seconds) else seconds)
        try:
            await work()
            away = False
        except DatabaseAway as error:
            if not away:
                log.warning("%s waits: %s", what, error)
            away = True
        except Exception:
            # A failed round must not end the loop.
            log.exception("%s failed", what)
