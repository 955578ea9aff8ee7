"""A worker's side of its channel to the supervisor. It is to a worker what the data folder's lock is to a gateway."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

import msgspec

from kaixu.gateway.claim import About, ReloadOutcome

from .channel import Channel, Message
from .figures import Family

log = logging.getLogger(__name__)

#: How long the supervisor may take to answer; it waits a second for the other workers.
ANSWER_S = 3.0

#: How often figures are sent unasked: what a killed worker has counted since then is missing from the metrics.
PUSH_S = 5.0


class Link:
    """The channel of one worker.

    `stop` is called when another process has taken this one's place, or when the supervisor has ended. `reload` and
    `greet`: as they say. `figures`: this process' metrics.
    """

    def __init__(self, slot: int, channel: Channel) -> None:
        self.slot = slot
        self.channel = channel
        self.stop: Callable[[], None] = lambda: None
        self.reload: Callable[[], None] = lambda: None
        self.greet: Callable[[], None] = lambda: None
        self.figures: Callable[[], list[Family]] = list
        self.told: Message = {}  # added to what is told when it is ready
        self.waiting: dict[int, asyncio.Future[Message]] = {}
        self.asked = 0

    async def run(self) -> None:
        """Do what the supervisor says, until it ends."""
        while (message := await self.channel.receive()) is not None:
            match message["do"]:
                case "reload":
                    self.reload()
                case "retire":
                    self.stop()
                case "greet":
                    self.greet()
                case "collect":
                    self.send_figures(message["id"])
                case "answer":
                    if (waiting := self.waiting.pop(message["id"], None)) is not None and not waiting.done():
                        waiting.set_result(message)
        log.warning("the supervisor has ended, so this worker stops")
        self.stop()

    async def push(self) -> None:
        """Send figures from time to time."""
        while True:
            await asyncio.sleep(PUSH_S)
            self.send_figures(0)

    def send_figures(self, number: int = 0) -> None:
        """Send the figures; `number`: of the question."""
        self.channel.send({"is": "collected", "id": number, "families": self.figures()})

    async def ask(self, about: str) -> Message | None:
        """Ask for `workers`, or for `figures` too; None if the supervisor does not answer."""
        self.asked += 1
        number = self.asked
        waiting = self.waiting[number] = asyncio.get_running_loop().create_future()
        self.channel.send({"is": "question", "id": number, "about": about})
        answer: Message | None = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_S):
                answer = await waiting
        self.waiting.pop(number, None)
        return answer

    async def workers(self) -> list[dict[str, Any]] | None:
        """The workers of this gateway; None if the supervisor does not answer."""
        answer = await self.ask("workers")
        workers: list[dict[str, Any]] | None = None if answer is None else answer["workers"]
        return workers

    def announce(self, about: About) -> None:
        """Tell the supervisor that this worker serves."""
        self.channel.send({"is": "ready", "version": about.version, **self.told})

    def record_reload(self, outcome: ReloadOutcome) -> None:
        """Tell the supervisor the outcome of a reload."""
        self.channel.send({"is": "reloaded", "outcome": msgspec.to_builtins(outcome)})

    async def flush(self) -> None:
        """Wait until everything is sent, since figures are larger than what a socket holds."""
        transport = self.channel.writer.transport
        if transport.is_closing():  # the supervisor has ended
            return
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(ANSWER_S):
                transport.set_write_buffer_limits(0)
                await self.channel.writer.drain()

    def hide(self) -> None:
        """Send the last figures."""
        self.send_figures()
