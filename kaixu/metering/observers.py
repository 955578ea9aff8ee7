"""Delivers settlements and monitor events: to alerts at once, to plugins' `on_event` from a queue."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

import msgspec

from kaixu.ops.events import MonitorEvent
from kaixu.plugin.hookspecs import Event
from kaixu.store.admission import Settlement, Verdict

from .admission import CallObserver, SettlementObserver
from .ticket import Ticket

#: How many events wait for plugins; beyond that the oldest are dropped.
MOST_WAITING = 5000

#: How many events are passed on before other tasks get their turn.
AT_ONCE = 20

#: Fields of a monitor event that are only for writing it.
NOT_OBSERVED = frozenset({"is_unbilled_call", "created_at"})


class Observers:
    """Passes on settlements and monitor events. `listening` returns whether any plugin observes them."""

    def __init__(
        self,
        alerts: CallObserver,
        *,
        listening: Callable[[], bool],
        observe: Callable[[Event], None],
        notices: SettlementObserver | None = None,
        metrics: SettlementObserver | None = None,
    ) -> None:
        self.alerts = alerts
        self.notices = notices
        self.metrics = metrics
        self.listening = listening
        self.observe = observe
        self.waiting: deque[Event] = deque(maxlen=MOST_WAITING)
        self.queued = asyncio.Event()

    def settled(self, ticket: Ticket, settlement: Settlement) -> None:
        """See `kaixu.metering.admission.SettlementObserver`."""
        if self.metrics is not None:
            self.metrics.settled(ticket, settlement)
        self.alerts.settled(ticket, settlement)
        if self.notices is not None:
            self.notices.settled(ticket, settlement)
        if self.listening():
            self.queue(Event("settled", msgspec.to_builtins(settlement)))

    def refused(self, verdict: Verdict) -> None:
        """See `kaixu.metering.admission.CallObserver`."""
        self.alerts.refused(verdict)

    def noted(self, event: MonitorEvent) -> None:
        """A monitor event was recorded."""
        if self.listening():
            detail = {
                name: value
                for name, value in msgspec.to_builtins(event).items()
                if value is not None and name not in NOT_OBSERVED
            }
            self.queue(Event(str(detail.pop("kind")), detail))

    def queue(self, event: Event) -> None:
        """Queue an event; drops the oldest when the queue is full."""
        self.waiting.append(event)
        self.queued.set()

    async def run(self) -> None:
        """Pass queued events to plugins, until cancelled."""
        while True:
            await self.queued.wait()
            self.queued.clear()
            while self.waiting:
                for _ in range(min(AT_ONCE, len(self.waiting))):
                    self.observe(self.waiting.popleft())
                await asyncio.sleep(0)
