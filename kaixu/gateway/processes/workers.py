"""One worker process, as the supervisor sees it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from time import monotonic
from typing import Literal

from kaixu.gateway.claim import WorkerAbout

from .channel import Channel, Message
from .figures import Family
from .reaper import Reaper

State = Literal["starting", "ready", "leaving"]

#: How long a worker may take to tell its figures; then the last ones are used.
FIGURES_S = 1.0


class WorkerProcess:
    """A running worker. `ready` is set when it serves, `ended` when the process is gone.

    `on_message` gets what it sends beyond answers; `on_end` is called with its exit code.
    """

    def __init__(self, slot: int, process: int, channel: Channel, on_message: Callable[[WorkerProcess, Message], None]):
        self.slot = slot
        self.process = process
        self.channel = channel
        self.on_message = on_message
        self.state: State = "starting"
        self.since = datetime.now(UTC).isoformat(timespec="seconds")
        self.began = monotonic()
        self.ready_at: float | None = None
        self.told: Message = {}  # what it has told when it was ready
        self.reload_when_ready = False
        self.ready = asyncio.Event()
        self.ended = asyncio.Event()
        self.code: int | None = None
        self.families: list[Family] = []
        self.reloaded: asyncio.Queue[Message] = asyncio.Queue()
        self.collected: dict[int, asyncio.Future[None]] = {}
        self.asked = 0

    async def follow(self, reaper: Reaper) -> None:
        """Receive its messages until it has ended."""
        while (message := await self.channel.receive()) is not None:
            match message["is"]:
                case "ready":
                    self.told = message
                    self.state, self.ready_at = "ready", monotonic()
                    self.ready.set()
                    self.on_message(self, message)
                case "collected":
                    self.families = message["families"]
                    if (waiting := self.collected.pop(message["id"], None)) is not None and not waiting.done():
                        waiting.set_result(None)
                case "reloaded":
                    self.reloaded.put_nowait(message)
                case _:
                    self.on_message(self, message)
        self.state = "leaving"
        self.code = await reaper.end_of(self.process)
        self.channel.close()
        for waiting in self.collected.values():
            waiting.cancel()
        self.ended.set()

    async def starts(self) -> bool:
        """Wait until it serves; False if it has ended before."""
        both = [asyncio.ensure_future(self.ready.wait()), asyncio.ensure_future(self.ended.wait())]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in both:
                one.cancel()
        return self.ready.is_set() and not self.ended.is_set()

    async def reload(self, since_ns: int) -> Message | None:
        """Reload, and the outcome; None if it ends meanwhile."""
        self.channel.send({"do": "reload"})
        ended = asyncio.ensure_future(self.ended.wait())
        try:
            while True:
                answer = asyncio.ensure_future(self.reloaded.get())
                await asyncio.wait([answer, ended], return_when=asyncio.FIRST_COMPLETED)
                if not answer.done():
                    answer.cancel()
                    return None
                outcome: Message = answer.result()["outcome"]
                if outcome["began_ns"] >= since_ns:
                    return outcome
        finally:
            ended.cancel()

    async def refresh_figures(self) -> None:
        """Ask for its figures; a worker that does not answer soon keeps those of before."""
        self.asked += 1
        waiting = self.collected[self.asked] = asyncio.get_running_loop().create_future()
        self.channel.send({"do": "collect", "id": self.asked})
        with contextlib.suppress(TimeoutError, asyncio.CancelledError):
            async with asyncio.timeout(FIGURES_S):
                await waiting

    def retire(self) -> None:
        """Stop, since another process serves in its place."""
        self.state = "leaving"
        self.channel.send({"do": "retire"})

    def signal(self, number: signal.Signals) -> None:
        """Pass a signal on."""
        if number == signal.SIGTERM:
            self.state = "leaving"
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process, number)

    def about(self) -> WorkerAbout:
        """Its description."""
        return WorkerAbout(
            self.slot,
            self.process,
            "down" if self.ended.is_set() else self.state,
            self.since,
            str(self.told.get("version", "")),
        )
