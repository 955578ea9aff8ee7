"""What an operator should learn of a settlement: a cost above its hold, failed tries, a cap that is near or reached."""

from __future__ import annotations

from typing import Any

from kaixu.ops.events import Monitor, MonitorEvent
from kaixu.store.admission import Settlement, Verdict

from .cap_watch import CapWatch
from .model_ticket import MOST_TRIES_LISTED, ModelTicket
from .ticket import Ticket


def vendor_messages(ticket: ModelTicket) -> dict[str, Any]:
    """The vendors' own error messages, try by try, for the operator; empty where there are none."""
    messages = [
        {
            "try": number,
            "deployment": attempt.deployment,
            "status": attempt.upstream_status,
            "reason": attempt.reason,
            "words": attempt.vendor_words,
        }
        for number, attempt in enumerate(ticket.tried, start=1)
        if attempt.upstream_status is not None or attempt.vendor_words is not None
    ]
    return {"vendor": messages[:MOST_TRIES_LISTED]} if messages else {}


class Alerts:
    """Looks at every settlement and at every refusal. None of it delays a call."""

    def __init__(self, monitor: Monitor, caps: CapWatch) -> None:
        self.monitor = monitor
        self.caps = caps

    def settled(self, ticket: Ticket, settlement: Settlement) -> None:
        """See `kaixu.metering.admission.SettlementObserver`."""
        if settlement.cost_nusd > ticket.granted_nusd:
            self.monitor.record(
                MonitorEvent(
                    kind="alert",
                    level="error",
                    request_id=settlement.request_id,
                    customer_id=settlement.customer_id,
                    key_id=settlement.key_id,
                    provider=settlement.provider,
                    model=settlement.model,
                    error_code="OVER_HOLD",
                    error_message="the vendor reported more than was held for the call",
                    extra={"held_nusd": ticket.granted_nusd, "cost_nusd": settlement.cost_nusd},
                )
            )
        if isinstance(ticket, ModelTicket) and (failures := [attempt for attempt in ticket.tried if attempt.error]):
            last_failure = failures[-1]
            self.monitor.record(
                MonitorEvent(
                    kind="tries",
                    level="warn",
                    request_id=settlement.request_id,
                    customer_id=settlement.customer_id,
                    key_id=settlement.key_id,
                    provider=settlement.provider,
                    model=settlement.model,
                    duration_ms=settlement.duration_ms,
                    error_code=last_failure.error,
                    error_message="deployments failed",
                    upstream_status=last_failure.upstream_status,
                    extra=(ticket.course if settlement.end_reason == "released" else {}) | vendor_messages(ticket),
                )
            )
        self.caps.settled(settlement.customer_id, settlement.chain_id, ticket.figures)

    def refused(self, verdict: Verdict) -> None:
        """See `kaixu.metering.admission.CallObserver`."""
        if verdict.refused == "CAP_REACHED":
            self.caps.refuses(verdict)
