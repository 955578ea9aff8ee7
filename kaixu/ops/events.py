"""Monitor events: queued up to a limit, and written in batches, without delaying calls."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal

import msgspec

from kaixu.plugin.errors import DatabaseAway

log = logging.getLogger(__name__)

#: Events that are queued while the database is away; beyond that the oldest are dropped.
MAX_QUEUED = 5000
BATCH = 500


class MonitorEvent(msgspec.Struct, frozen=True):
    """An event for operators: a refusal, failure, lost call, alert, reload and so on.

    `provider` is the lane, `deployment` the one that was called last. `ip_hash`: of the client's address.
    `upstream_body`: the vendor's words, cleaned, of at most 2,000 characters.
    """

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
    app_id: str | None = None
    build_id: str | None = None
    origin: str | None = None
    referer: str | None = None
    ip_hash: str | None = None
    deployment: str | None = None
    request_bytes: int | None = None
    response_bytes: int | None = None
    upstream_body: str | None = None
    extra: dict[str, Any] = {}


class Monitor:
    """Queues events and writes them in the background."""

    def __init__(self, write: Callable[[Sequence[MonitorEvent]], Awaitable[None]]) -> None:
        self._write = write
        self.observer: Callable[[MonitorEvent], None] | None = None
        self._waiting: deque[MonitorEvent] = deque(maxlen=MAX_QUEUED)
        self._has_events = asyncio.Event()
        self._writing = asyncio.Lock()
        self._away = False  # the last write found no database

    def record(self, event: MonitorEvent) -> None:
        """Queue one event without waiting. A full queue drops its oldest event."""
        self._waiting.append(event)
        self._has_events.set()
        if self.observer is not None:
            self.observer(event)

    async def run(self) -> None:
        """Write queued events until cancelled."""
        while True:
            await self._has_events.wait()
            await asyncio.sleep(0.2)  # collect a batch
            # A stop must not cancel a write that has begun, or its events would be lost.
            if not await asyncio.shield(asyncio.ensure_future(self.flush())):
                await asyncio.sleep(1)

    async def flush(self) -> bool:
        """Write the queued events; return whether all were written. The others stay queued."""
        async with self._writing:
            return await self._flush()

    async def _flush(self) -> bool:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            try:
                await self._write(batch)
                self._away = False
            except DatabaseAway as error:
                if not self._away:
                    log.warning("monitor events wait for the database: %s", error.message)
                self._away = True
                self._waiting.extendleft(reversed(batch[: MAX_QUEUED - len(self._waiting)]))
                return False
            except Exception:
                # One of them is malformed: drop it, and write the others.
                log.exception("%d monitor events could not be written together", len(batch))
                await self._write_singly(batch)
        self._has_events.clear()
        return True

    async def _write_singly(self, batch: Sequence[MonitorEvent]) -> None:
        """Write events one by one; drop those that cannot be written."""
        for event in batch:
            try:
                await self._write([event])
            except Exception:
                log.exception("monitor event %s of request %s was dropped", event.kind, event.request_id)
