"""Plugins receive events in order, and cannot delay or break anything."""

from __future__ import annotations

import asyncio

from kaixu.metering.observers import MOST_WAITING, Observers
from kaixu.metering.ticket import Ticket
from kaixu.ops.events import MonitorEvent
from kaixu.plugin.hookspecs import Event
from kaixu.store.admission import Settlement, Verdict


class NoAlerts:
    """An observer that does nothing."""

    def settled(self, ticket: Ticket, settlement: Settlement) -> None:
        """Nothing."""

    def refused(self, verdict: Verdict) -> None:
        """Nothing."""


async def deliver_events(observers: Observers) -> None:
    """Run until the queue is empty."""
    task = asyncio.ensure_future(observers.run())
    while observers.waiting:
        await asyncio.sleep(0)
    task.cancel()


async def test_monitor_events_are_delivered_in_order_without_unknown_values() -> None:
    observed: list[Event] = []
    observers = Observers(NoAlerts(), listening=lambda: True, observe=observed.append)
    for at in range(50):
        observers.noted(MonitorEvent(kind="blocked", level="warn", customer_id=at))
    await deliver_events(observers)
    assert observed[7] == Event("blocked", {"level": "warn", "customer_id": 7, "extra": {}})
    assert [event.detail["customer_id"] for event in observed] == list(range(50))


async def test_nothing_is_queued_without_an_observer() -> None:
    observers = Observers(NoAlerts(), listening=lambda: False, observe=lambda event: None)
    observers.noted(MonitorEvent(kind="blocked"))
    assert not observers.waiting


async def test_observers_that_cannot_keep_up_miss_the_oldest() -> None:
    observers = Observers(NoAlerts(), listening=lambda: True, observe=lambda event: None)
    for at in range(MOST_WAITING + 10):
        observers.noted(MonitorEvent(kind="blocked", customer_id=at))
    assert len(observers.waiting) == MOST_WAITING
    assert observers.waiting[0].detail["customer_id"] == 10
