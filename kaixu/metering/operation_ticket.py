"""The ticket of an integration's operation or job: billed by units, not by tokens."""

from __future__ import annotations

from typing import Any

from kaixu.plugin.operation import PerUnit
from kaixu.plugin.types import Usage
from kaixu.store.admission import Ask, Verdict

from .charges import Meter
from .ticket import BilledUsage, Ticket
from .wire import TicketWire


class OperationTicket(Ticket):
    """One admitted operation or job of an integration, and the meter that counts its units."""

    __slots__ = ("bills_failures", "has_delivered", "meter")

    def __init__(
        self, ask: Ask, verdict: Verdict, wire: TicketWire, meter: Meter, *, bills_failures: bool = False
    ) -> None:
        super().__init__(ask, verdict, wire)
        self.meter = meter
        self.bills_failures = bills_failures  # what was counted, if a vendor may have worked
        self.has_delivered = False  # a part of a stream of events has been sent

    @property
    def event_units(self) -> dict[str, Any] | None:
        """The units that the meter has counted."""
        return dict(self.meter.units)

    def billed_usage(self, end_reason: str) -> BilledUsage:
        """What the counted units cost, at most what was reserved."""
        source = "plugin" if self.meter.is_counted_by_plugin else "counted"
        return BilledUsage(Usage(), source, min(self.meter.cost_nusd, self.granted_nusd))

    @property
    def has_used_something(self) -> bool:
        """Whether a job that pauses has used what would be missing in the reports: counted units, a vendor's charge.

        A price for each call is none: it is for the job as a whole, which is billed once, however often it asks.
        """
        counted = isinstance(self.meter.charge, PerUnit) and self.meter.cost_nusd > 0
        return bool(self.meter.vendor_cost_nusd) or (counted and self.vendor_may_have_worked)

    def vendor_cost_nusd(self, usage: Usage) -> int | None:
        """What the plugin has said; None: nothing, so it is not known."""
        return self.meter.vendor_cost_nusd
