"""Cancel a handler whose client disconnects."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hypercorn.typing import ASGIReceiveCallable

#: Only handlers that take longer than this are watched: for shorter ones a task would cost more than it saves.
WATCH_AFTER_S = 0.25


class ClientWatch:
    """Waits for the client to disconnect and then cancels the handler."""

    __slots__ = ("handler", "is_disconnected", "receive", "task")

    def __init__(self, receive: ASGIReceiveCallable, handler: asyncio.Task[object]) -> None:
        self.receive = receive
        self.handler = handler
        self.task: asyncio.Task[None] | None = None
        self.is_disconnected = False

    def start(self) -> None:
        """Start waiting."""
        self.task = asyncio.get_running_loop().create_task(self._wait())

    def stop(self) -> None:
        """Stop waiting."""
        # The task holds its CancelledError, and that, by its traceback, this object: kept here, the task would be part
        # of a cycle, and stay until a run of the garbage collector.
        task, self.task = self.task, None
        if task is not None:
            task.cancel()

    async def _wait(self) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass
        self.is_disconnected = True
        self.handler.cancel()
