"""Alerts about caps that are near or reached, and about costs above their hold. None of them delays a call."""

from __future__ import annotations

import asyncio
from datetime import date
from typing import Any

import asyncpg
import msgspec

from kaixu.config.price import cents_of_nusd
from kaixu.ops.events import Monitor, MonitorEvent
from kaixu.ops.tasks import Tasks
from kaixu.plugin.errors import DatabaseAway
from kaixu.store.admission import Settlement
from kaixu.store.alerts import claim_alert
from kaixu.store.pool import database

from .model_ticket import MOST_TRIES_LISTED, ModelTicket
from .ticket import Ticket

#: The pause before an alert is claimed again that could not be claimed.
RETRY_S = 2.0

#: An alert that is raised once: customer, chain of keys (0: the customer's cap), month, type.
AlertKey = tuple[int, int, date, str]


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
    """Checks every settlement and raises alerts: each cap alert once a month over all gateways.

    With `to_webhook`, an alert is also queued for the operator's webhook; `kaixu.jobs` delivers it.
    """

    def __init__(self, pool: asyncpg.Pool, monitor: Monitor, tasks: Tasks, *, warn_pct: int, to_webhook: bool) -> None:
        self.pool = pool
        self.monitor = monitor
        self.tasks = tasks
        self.warn_pct = warn_pct
        self.to_webhook = to_webhook
        self.raised: set[AlertKey] = set()  # by any gateway: no further query is needed

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
        if isinstance(ticket, ModelTicket) and any(attempt.error for attempt in ticket.tried):
            last_failure = next(attempt for attempt in reversed(ticket.tried) if attempt.error)
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
        figures = ticket.figures
        self.check_cap(settlement, 0, figures.customer_spent_nusd, figures.customer_cap_nusd, "CUSTOMER")
        if figures.key_cap_nusd is not None:
            self.check_cap(settlement, settlement.chain_id, figures.key_spent_nusd, figures.key_cap_nusd, "KEY")

    def check_cap(self, settlement: Settlement, chain_id: int, spent: int, cap: int, owner: str) -> None:
        """Raise the alert of one cap, if `spent` has passed the warning mark or the cap itself."""
        if cap <= 0 or spent * 100 < cap * self.warn_pct:
            return
        alert = f"CAP_REACHED_{owner}" if spent >= cap else f"CAP_WARN_{owner}"
        key = (settlement.customer_id, chain_id, settlement.month, alert)
        if key in self.raised:
            return
        self.raised.add(key)
        body = {
            "type": alert,
            "month": f"{settlement.month:%Y-%m}",
            "customer_id": settlement.customer_id,
            "api_key_id": settlement.key_id if chain_id else None,
            "cap_cents": cents_of_nusd(cap),
            "spent_cents": cents_of_nusd(spent),
            "pct": spent * 100 // cap,
        }
        self.tasks.spawn(self.raise_alert(key, body), f"alert {alert}")

    async def claim(self, key: AlertKey, body: dict[str, Any]) -> bool:
        """Claim and queue the alert; whether it is ours to raise.

        Waits for a database that is away: after a reached cap there is no next settlement that would try again.
        """
        customer_id, chain_id, month, alert = key
        while True:
            try:
                with database():
                    return await claim_alert(
                        self.pool,
                        customer_id=customer_id,
                        chain_id=chain_id,
                        month=month,
                        alert=alert,
                        webhook_body=msgspec.json.encode(body) if self.to_webhook else None,
                    )
            except DatabaseAway:
                await asyncio.sleep(RETRY_S)

    async def raise_alert(self, key: AlertKey, body: dict[str, Any]) -> None:
        """Claim the alert, queue it for the webhook, record it in the monitor; nothing if another gateway has."""
        try:
            is_ours = await self.claim(key, body)
        except BaseException:
            self.raised.discard(key)  # it was not raised: the next settlement tries again
            raise
        alert = key[-1]
        if is_ours:
            self.monitor.record(
                MonitorEvent(
                    kind="alert",
                    level="warn",
                    customer_id=body["customer_id"],
                    key_id=body["api_key_id"],
                    error_code=alert,
                    extra=body,
                )
            )
