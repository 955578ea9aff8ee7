"""Batches concurrent calls: those that arrive together go to the database in one statement."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import Generic, TypeVar

import asyncpg

from kaixu.plugin.errors import Stopping

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class UncancelledFuture(asyncio.Future[Answer]):
    """A future that tasks wait for to its end: a task that is cancelled meanwhile gets its `CancelledError` then.

    As `asyncio.shield` in a loop, without a second future and its callbacks.
    """

    def cancel(self, msg: object = None) -> bool:
        """Refuse."""
        return False


class Group(Generic[Item, Answer]):
    """Collects items while a batch is under way, and sends them with the next one.

    One batch is under way at a time, so batches grow with the load, and a single
    caller does not wait. An item cannot be withdrawn, and a caller that is cancelled
    learns the answer first, so that it can undo what was done.

    `send` returns a value for each item, or the error of that item alone.

    `pause_s`: how long to collect before a batch is sent. Under load a few
    milliseconds pay: the calls would otherwise wait for the processor.

    `sent` is told the size of each batch and how many seconds it took.
    """

    def __init__(
        self,
        send: Callable[[list[Item]], Awaitable[Sequence[Answer | Exception]]],
        *,
        most: int = 256,
        pause_s: Callable[[], float] = lambda: 0.0,
        sent: Callable[[int, float], None] = lambda size, seconds: None,
    ) -> None:
        self._send = send
        self._most = most
        self._pause_s = pause_s
        self._sent = sent
        self._waiting: list[tuple[Item, asyncio.Future[Answer]]] = []
        self._runner: asyncio.Task[None] | None = None

    def put(self, item: Item) -> asyncio.Future[Answer]:
        """Send `item` with the next batch. The future gets its answer, or the error that the batch met."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = UncancelledFuture(loop=loop)
        self._waiting.append((item, answer))
        if self._runner is None:
            self._runner = loop.create_task(self._run())
        return answer

    async def _run(self) -> None:
        try:
            while self._waiting:
                pause_s = self._pause_s()
                if pause_s:
                    await asyncio.sleep(pause_s)
                batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                began = monotonic()
                try:
                    await self._deliver(batch)
                except asyncio.CancelledError:  # the event loop ends, and cancels callers, too: none may wait for ever
                    fail(batch + self._waiting, Stopping("the gateway has stopped before the database answered"))
                    self._waiting = []
                    raise
                self._sent(len(batch), monotonic() - began)
        finally:
            self._runner = None

    async def _deliver(self, batch: list[tuple[Item, asyncio.Future[Answer]]]) -> None:
        try:
            answers = await self._send([item for item, _ in batch])
        except asyncpg.DataError as error:
            # A value that cannot be encoded was never sent; the other calls must not fail with it.
            if len(batch) == 1:
                fail(batch, error)
                return
            for one in batch:
                await self._deliver([one])
        except Exception as error:  # noqa: BLE001 - any error goes to the calls that wait
            fail(batch, error)
        else:
            for (_, answer), value in zip(batch, answers, strict=True):
                if answer.done():
                    continue
                if isinstance(value, Exception):
                    answer.set_exception(value)
                else:
                    answer.set_result(value)

    def __len__(self) -> int:
        """How many items wait for their batch."""
        return len(self._waiting)

    async def drained(self) -> None:
        """Wait until nothing is waiting or under way."""
        while self._runner is not None:
            await asyncio.wait([self._runner])


def fail(batch: list[tuple[Item, asyncio.Future[Answer]]], error: Exception) -> None:
    """Fail every call of the batch that still waits."""
    for _, answer in batch:
        if not answer.done():
            answer.set_exception(error)
