"""Everyone who hears of what has happened: alerts at once, plugins' `on_event` a little later and never in the way."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

import msgspec

from kaixu.ops.events import MonitorEvent
from kaixu.plugin.hookspecs import Event
from kaixu.store.admission import Settlement

from .admission import Observer
from .ticket import Ticket

#: Observers that cannot keep up miss the oldest.
MOST_WAITING = 5000

#: So many events are told before others get their turn on the loop.
AT_ONCE = 20


class Observers:
    """Hands on settlements and monitor events. `listening` says whether any plugin wants them at all."""

    def __init__(
        self,
        alerts: Observer,
        *,
        listening: Callable[[], bool],
        observe: Callable[[Event], None],
        notices: Observer | None = None,
    ) -> None:
        self.alerts = alerts
        self.notices = notices
        self.listening = listening
        self.observe = observe
        self.waiting: deque[Event] = deque(maxlen=MOST_WAITING)
        self.some = asyncio.Event()

    def settled(self, ticket: Ticket, settlement: Settlement) -> None:
        """See `kaixu.metering.admission.Observer`."""
        self.alerts.settled(ticket, settlement)
        if self.notices is not None:
            self.notices.settled(ticket, settlement)
        if self.listening():
            self.tell(Event("settled", msgspec.to_builtins(settlement)))

    def noted(self, event: MonitorEvent) -> None:
        """A monitor event was recorded."""
        if self.listening():
            detail = {name: value for name, value in msgspec.to_builtins(event).items() if value is not None}
            self.tell(Event(str(detail.pop("kind")), detail))

    def tell(self, event: Event) -> None:
        """Queue an event; the oldest gives way when the queue is full."""
        self.waiting.append(event)
        self.some.set()

    async def run(self) -> None:
        """Tell plugins, until cancelled."""
        while True:
            await self.some.wait()
            self.some.clear()
            while self.waiting:
                for _ in range(min(AT_ONCE, len(self.waiting))):
                    self.observe(self.waiting.popleft())
                await asyncio.sleep(0)
