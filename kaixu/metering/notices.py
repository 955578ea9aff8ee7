"""Monitor events about calls that succeeded: fields that were dropped, oddities in a vendor's answer."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from time import monotonic

from kaixu.ops.events import Monitor, MonitorEvent
from kaixu.store.admission import Settlement

from .chat_ticket import ChatTicket
from .ticket import Ticket

#: The same notice is recorded once in this many seconds.
ONCE_IN_S = 3600.0
#: How many notices are remembered; beyond that the oldest are forgotten and may be recorded again.
MOST_REMEMBERED = 10_000
#: At most this many names of dropped fields are reported for one call.
MOST_FIELDS = 20


class Notices:
    """Records notices about settled calls, the same one at most once an hour."""

    def __init__(self, monitor: Monitor, *, clock: Callable[[], float] = monotonic) -> None:
        self.monitor = monitor
        self.clock = clock
        self.recorded: OrderedDict[tuple[object, ...], float] = OrderedDict()

    def settled(self, ticket: Ticket, settlement: Settlement) -> None:
        """See `kaixu.metering.admission.SettlementObserver`."""
        if isinstance(ticket, ChatTicket) and ticket.request.dropped:
            fields = tuple(dict.fromkeys(ticket.request.dropped))[:MOST_FIELDS]
            if self.is_new(("dropped", settlement.key_id, settlement.provider, settlement.model, fields)):
                message = f"fields that the lane does not know were dropped: {', '.join(fields)}"
                self.record("dropped_fields", settlement, message, {"fields": list(fields)})
        for note in ticket.wire.notes:
            if self.is_new(("note", settlement.provider, settlement.model, note)):
                self.record("vendor_odd", settlement, note, {})

    def is_new(self, key: tuple[object, ...]) -> bool:
        """Whether this was not recorded within the last hour. Marks it as recorded."""
        now = self.clock()
        before = self.recorded.get(key)
        if before is not None and now - before < ONCE_IN_S:
            return False
        self.recorded[key] = now
        self.recorded.move_to_end(key)
        if len(self.recorded) > MOST_REMEMBERED:
            self.recorded.popitem(last=False)
        return True

    def record(self, kind: str, settlement: Settlement, message: str, extra: dict[str, object]) -> None:
        """Record one monitor event about a call."""
        self.monitor.record(
            MonitorEvent(
                kind=kind,
                level="info",
                request_id=settlement.request_id,
                customer_id=settlement.customer_id,
                key_id=settlement.key_id,
                provider=settlement.provider,
                model=settlement.model,
                error_message=message,
                extra=extra,
            )
        )
