"""Caps that come near or are reached, and costs above their hold: told once a month, and never in the way of a call."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
from collections.abc import Awaitable, Callable
from datetime import date
from typing import Any

import httpx
import msgspec

from kaixu.config.price import cents_of_nusd
from kaixu.ops.events import Monitor, MonitorEvent
from kaixu.ops.tasks import Tasks
from kaixu.store.admission import Settlement

from .model_ticket import MOST_TRIES_LISTED, ModelTicket
from .ticket import Ticket

log = logging.getLogger(__name__)


def alert_key(secret: str) -> str:
    """The webhook's signing key: whoever checks signatures must not be able to make tokens."""
    return hmac.new(secret.encode(), b"alert", hashlib.sha256).hexdigest()


def vendors_words(ticket: ModelTicket) -> dict[str, Any]:
    """What vendors said when they refused, try by try, for the operator; empty where none said anything."""
    said = [
        {
            "try": number,
            "deployment": one.deployment,
            "status": one.upstream_status,
            "reason": one.reason,
            "words": one.vendor_words,
        }
        for number, one in enumerate(ticket.tried, start=1)
        if one.upstream_status is not None or one.vendor_words is not None
    ]
    return {"vendor": said[:MOST_TRIES_LISTED]} if said else {}


Claim = Callable[[int, int, date, str], Awaitable[bool]]


class Alerts:
    """Looks at every settlement. `claim(customer, chain, month, alert)` decides, in one statement, who tells it."""

    def __init__(
        self,
        claim: Claim,
        monitor: Monitor,
        tasks: Tasks,
        transport: httpx.AsyncBaseTransport,
        *,
        warn_pct: int,
        webhook: str | None,
        signing_key: str,
    ) -> None:
        self.claim = claim
        self.monitor = monitor
        self.tasks = tasks
        self.transport = transport
        self.warn_pct = warn_pct
        self.webhook = webhook
        self.signing_key = signing_key
        self.told: set[tuple[int, int, date, str]] = set()

    def settled(self, ticket: Ticket, settlement: Settlement) -> None:
        """See `kaixu.metering.admission.Observer`."""
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
        if isinstance(ticket, ModelTicket) and any(one.error for one in ticket.tried):
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
                    error_code=next(one.error for one in reversed(ticket.tried) if one.error),
                    error_message="deployments failed",
                    upstream_status=next((one.upstream_status for one in reversed(ticket.tried) if one.error), None),
                    extra=(ticket.course if settlement.end_reason == "released" else {}) | vendors_words(ticket),
                )
            )
        figures = ticket.figures
        self.look(settlement, 0, figures.customer_spent_nusd, figures.customer_cap_nusd, "CUSTOMER")
        if figures.key_cap_nusd is not None:
            self.look(settlement, settlement.chain_id, figures.key_spent_nusd, figures.key_cap_nusd, "KEY")

    def look(self, settlement: Settlement, chain_id: int, spent: int, cap: int, who: str) -> None:
        """Tell of one cap where it was passed by warning or whole."""
        if cap <= 0 or spent * 100 < cap * self.warn_pct:
            return
        for alert, due in ((f"CAP_REACHED_{who}", spent >= cap), (f"CAP_WARN_{who}", spent < cap)):
            mark = (settlement.customer_id, chain_id, settlement.month, alert)
            if due and mark not in self.told:
                self.told.add(mark)
                body = {
                    "type": alert,
                    "month": f"{settlement.month:%Y-%m}",
                    "customer_id": settlement.customer_id,
                    "api_key_id": settlement.key_id if chain_id else None,
                    "cap_cents": cents_of_nusd(cap),
                    "spent_cents": cents_of_nusd(spent),
                    "pct": spent * 100 // cap,
                }
                self.tasks.spawn(self.tell(mark, body), f"alert {alert}")

    async def tell(self, mark: tuple[int, int, date, str], body: dict[str, Any]) -> None:
        """Tell it, if no other replica has: in the monitor, and to the operator's webhook with a signature."""
        try:
            ours = await self.claim(*mark)
        except BaseException:
            self.told.discard(mark)  # nobody has told it: the next settlement tries again
            raise
        if not ours:
            return
        self.monitor.record(
            MonitorEvent(
                kind="alert",
                level="warn",
                customer_id=body["customer_id"],
                key_id=body["api_key_id"],
                error_code=body["type"],
                extra=body,
            )
        )
        if self.webhook is None:
            return
        content = msgspec.json.encode(body)
        signature = hmac.new(self.signing_key.encode(), content, hashlib.sha256).hexdigest()
        request = httpx.Request(
            "POST",
            self.webhook,
            content=content,
            headers={"content-type": "application/json", "x-kaixu-signature": f"sha256={signature}"},
        )
        for pause_s in (1, 5, 0):
            try:
                async with asyncio.timeout(10):
                    response = await self.transport.handle_async_request(request)
                    await response.aclose()
                if response.status_code < 300:
                    return
            except (httpx.HTTPError, TimeoutError):
                pass
            await asyncio.sleep(pause_s)
        log.warning("alert %s could not be delivered to the webhook", body["type"])
