"""What the monitor shows: a bounded queue of events, written in batches, never in the way of a call."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal

import msgspec

from kaixu.plugin.errors import DatabaseAway

log = logging.getLogger(__name__)

#: While the database is away, older events than the newest so many are given up.
MOST_WAITING = 5000
BATCH = 500


class MonitorEvent(msgspec.Struct, frozen=True):
    """Something worth an operator's look: refused, failed, slow, lost, alert, reload."""

    kind: str
    level: Literal["info", "warn", "error"] = "info"
    request_id: str | None = None
    function_name: str | None = None
    method: str | None = None
    path: str | None = None
    user_agent: str | None = None
    customer_id: int | None = None
    key_id: int | None = None
    provider: str | None = None
    model: str | None = None
    http_status: int | None = None
    duration_ms: int | None = None
    error_code: str | None = None
    error_message: str | None = None
    upstream_status: int | None = None
    extra: dict[str, Any] = {}


class Monitor:
    """Takes events at once and writes them a little later."""

    def __init__(self, write: Callable[[Sequence[MonitorEvent]], Awaitable[None]]) -> None:
        self._write = write
        self.heard_by: Callable[[MonitorEvent], None] | None = None
        self._waiting: deque[MonitorEvent] = deque(maxlen=MOST_WAITING)
        self._some = asyncio.Event()
        self._writing = asyncio.Lock()

    def record(self, event: MonitorEvent) -> None:
        """Queue one event. Never waits; the oldest gives way when the queue is full."""
        self._waiting.append(event)
        self._some.set()
        if self.heard_by is not None:
            self.heard_by(event)

    async def run(self) -> None:
        """Write events as they come, until cancelled."""
        while True:
            await self._some.wait()
            await asyncio.sleep(0.2)  # what comes together is written together
            # A stop cancels this loop, not the write that is under way: its events would be lost.
            if not await asyncio.shield(asyncio.ensure_future(self.flush())):
                await asyncio.sleep(1)

    async def flush(self) -> bool:
        """Write what is waiting, after a write that is under way; whether that went well.

        What could not be written stays.
        """
        async with self._writing:
            return await self._flush()

    async def _flush(self) -> bool:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            try:
                await self._write(batch)
            except DatabaseAway as error:
                log.warning("%d monitor events wait for the database: %s", len(batch), error.message)
                self._waiting.extendleft(reversed(batch[: MOST_WAITING - len(self._waiting)]))
                return False
            except Exception:
                # One of them is malformed. It goes; the others, and all that come after them, do not wait for it.
                log.exception("%d monitor events could not be written together", len(batch))
                await self._write_apart(batch)
        self._some.clear()
        return True

    async def _write_apart(self, batch: Sequence[MonitorEvent]) -> None:
        """Write events one by one; one that cannot be written is given up."""
        for event in batch:
            try:
                await self._write([event])
            except Exception:
                log.exception("monitor event %s of request %s is given up", event.kind, event.request_id)
