"""Monitor events: queued up to a limit, and written in batches, without delaying calls."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID, uuid4

import msgspec

from kaixu.plugin.errors import DatabaseAway

log = logging.getLogger(__name__)

#: Events that are queued while the database is away; beyond that the oldest are dropped.
MAX_QUEUED = 5000
BATCH = 500


#: The kinds that the monitor shows. Every other kind is a detail of `alert` or `info`.
KINDS = frozenset({"error", "slow", "rate_limited", "blocked", "audit", "client_error", "alert", "info"})

#: Details that an operator should look at.
ALERTS = frozenset({"integration_alert", "lost", "surface_down"})


class MonitorEvent(msgspec.Struct, frozen=True):
    """An event for operators: a refusal, failure, lost call, alert, reload and so on.

    Sizes are in bytes. `upstream_body`: the vendor's own words, without secrets and prompts. `is_unbilled_call`: a call
    that was refused or has failed and leaves no usage event, so it is counted when the event is written.
    """

    kind: str
    level: Literal["info", "warn", "error"] = "info"
    request_id: str | None = None
    function_name: str | None = None
    method: str | None = None
    path: str | None = None
    origin: str | None = None
    referer: str | None = None
    user_agent: str | None = None
    ip_hash: str | None = None
    app_id: str | None = None
    build_id: str | None = None
    customer_id: int | None = None
    key_id: int | None = None
    provider: str | None = None
    model: str | None = None
    deployment: str | None = None
    http_status: int | None = None
    duration_ms: int | None = None
    request_bytes: int | None = None
    response_bytes: int | None = None
    error_code: str | None = None
    error_message: str | None = None
    upstream_status: int | None = None
    upstream_body: str | None = None
    extra: dict[str, Any] = {}
    is_unbilled_call: bool = False
    created_at: datetime = msgspec.field(default_factory=lambda: datetime.now(UTC))

    @property
    def shown_kind(self) -> str:
        """The kind in the monitor."""
        if self.kind in KINDS:
            return self.kind
        return "alert" if self.kind in ALERTS else "info"

    @property
    def detail(self) -> str | None:
        """What the shown kind leaves open."""
        return None if self.kind in KINDS else self.kind


#: Writes one batch. A batch with the id of one that was written before is not written again.
WriteBatch = Callable[[Sequence[MonitorEvent], UUID], Awaitable[None]]


class Monitor:
    """Queues events and writes them in the background.

    `dropped`: events that were lost since the start, because the queue was full or they could not be written.
    """

    def __init__(self, write: WriteBatch) -> None:
        self._write = write
        self.dropped = 0
        self._dropped_before = 0  # what was told in an event
        self._unfinished: deque[tuple[UUID, list[MonitorEvent]]] = deque()  # taken, and perhaps written already
        self.observer: Callable[[MonitorEvent], None] | None = None
        self._waiting: deque[MonitorEvent] = deque(maxlen=MAX_QUEUED)
        self._has_events = asyncio.Event()
        self._writing = asyncio.Lock()
        self._away = False  # the last write found no database

    def record(self, event: MonitorEvent) -> None:
        """Queue one event without waiting. A full queue drops its oldest event."""
        if len(self._waiting) == self._waiting.maxlen:
            self.dropped += 1
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

    @property
    def waiting(self) -> int:
        """How many events wait to be written."""
        return len(self._waiting) + sum(len(batch) for _, batch in self._unfinished)

    async def _flush(self) -> bool:
        while self._unfinished or self._waiting:
            if not self._unfinished:
                self._unfinished.append((uuid4(), self._next_batch()))
            batch_id, batch = self._unfinished[0]
            try:
                await self._write(batch, batch_id)
            except DatabaseAway as error:
                if not self._away:
                    log.warning("monitor events wait for the database: %s", error.message)
                self._away = True
                return False  # the batch is tried again as it is: it may have been written
            except Exception:  # noqa: BLE001 - whatever is wrong with one event, the others must be written
                self._not_written(batch)
            else:
                self._unfinished.popleft()
            self._away = False
            self._tell_dropped()
        self._has_events.clear()
        return True

    def _not_written(self, batch: Sequence[MonitorEvent]) -> None:
        """One of the events is malformed: the others are written one by one, and a single one is dropped."""
        self._unfinished.popleft()
        if len(batch) > 1:
            log.exception("%d monitor events could not be written together", len(batch))
            self._unfinished.extendleft((uuid4(), [event]) for event in reversed(batch))
            return
        self.dropped += 1
        log.exception("monitor event %s of request %s was dropped", batch[0].kind, batch[0].request_id)

    def _next_batch(self) -> list[MonitorEvent]:
        return [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]

    def _tell_dropped(self) -> None:
        """Record how many events were lost since the last time."""
        if (lost := self.dropped - self._dropped_before) > 0:
            self._dropped_before = self.dropped
            message = f"{lost} monitor events were dropped"
            self.record(MonitorEvent(kind="dropped", level="warn", error_message=message, extra={"dropped": lost}))
