"""A ticket: one admitted call, which must be settled."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from time import monotonic
from typing import Any
from uuid import UUID

import msgspec

from kaixu.catalog.catalog import Deployment
from kaixu.plugin.types import Usage
from kaixu.store.admission import Ask, Hold, Settlement, Verdict
from kaixu.store.query import Connection

from .month import Figures, figures_of
from .wire import TicketWire

WriteAlongside = Callable[[Connection], Awaitable[None]]


class BilledUsage(msgspec.Struct, frozen=True):
    """What a call is billed for: the usage, where its figures come from, and what it costs the customer."""

    usage: Usage
    source: str
    cost_nusd: int


class Ticket:
    """One admitted call: who makes it, what was reserved for it, how it ended, and its wire.

    This is the ticket of a call that costs nothing; `ChatTicket`, `EmbedTicket` and `OperationTicket` add what their
    kinds of calls use.
    """

    __slots__ = (
        "admitted_at",
        "alongside",
        "ask",
        "client_left",
        "deployment",
        "end_reason",
        "figures",
        "price_id",
        "settlement",
        "started",
        "stopped_by_gateway",
        "units",
        "verdict",
        "waived",
        "wire",
    )

    def __init__(self, ask: Ask, verdict: Verdict, wire: TicketWire, deployment: Deployment | None = None) -> None:
        self.ask = ask
        self.verdict = verdict
        self.wire = wire
        self.deployment = deployment
        self.price_id = ask.price_id
        self.client_left = False  # before the answer was complete
        self.stopped_by_gateway = False  # cancelled, because the gateway is shutting down
        self.waived = False  # the call is interrupted and will be made again: what it has used is not billed
        self.alongside: WriteAlongside | None = None  # writes the call's result in one transaction with its settlement
        self.units: dict[str, Any] | None = None  # what was counted besides tokens
        self.end_reason: str | None = None
        self.admitted_at = verdict.admitted_at or datetime.now(UTC)  # the database's clock decides the day
        self.started = monotonic()
        self.figures: Figures = figures_of(verdict)
        self.settlement: Settlement | None = None

    @property
    def id(self) -> UUID:
        """The ticket's id: the idempotency key of its settlement."""
        return self.ask.ticket

    @property
    def granted_nusd(self) -> int:
        """What was reserved."""
        return self.verdict.granted_nusd or 0

    @property
    def vendor_may_have_worked(self) -> bool:
        """Whether a vendor may have worked for the call."""
        return self.wire.used

    @property
    def event_units(self) -> dict[str, Any] | None:
        """What the usage event stores besides tokens."""
        return self.units

    def billed_usage(self, end_reason: str) -> BilledUsage:
        """What a call that ended as `end_reason` is billed for."""
        return BilledUsage(Usage(), "counted", 0)

    def vendor_cost_nusd(self, usage: Usage) -> int | None:
        """What the vendor charges the operator for `usage`; None: not known."""
        return 0

    def bill(self, end_reason: str) -> Settlement:
        """The settlement of this call if it ends as `end_reason`. "released": nothing was used, nothing is billed."""
        released = end_reason == "released"
        billed = BilledUsage(Usage(), "estimated", 0) if released else self.billed_usage(end_reason)
        usage, verdict, ask = billed.usage, self.verdict, self.ask
        vendor_cost = self.vendor_cost_nusd(usage)
        assert verdict.customer_id is not None
        assert verdict.key_id is not None
        assert verdict.chain_id is not None
        return Settlement(
            ticket=ask.ticket,
            customer_id=verdict.customer_id,
            key_id=verdict.key_id,
            chain_id=verdict.chain_id,
            month=verdict.month,
            book=ask.book,
            operation=ask.operation,
            provider=ask.provider,
            model=ask.model,
            price_id=self.price_id,
            install_id=ask.install_id,
            request_id=ask.request_id,
            admitted_at=self.admitted_at,
            duration_ms=int((monotonic() - self.started) * 1000),
            end_reason=end_reason,
            usage_source=billed.source,
            cost_nusd=billed.cost_nusd,
            vendor_cost_nusd=vendor_cost or 0,
            vendor_cost_known=vendor_cost is not None,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cached_input_tokens=usage.cached_input_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            units=self.event_units,
            app_id=ask.app_id,
            build_id=ask.build_id,
            end_user=ask.end_user,
        )

    def hold(self) -> Hold:
        """The reservation as it was granted, to restore it if the database forgets it."""
        verdict, ask = self.verdict, self.ask
        assert verdict.customer_id is not None
        assert verdict.key_id is not None
        assert verdict.chain_id is not None
        return Hold(
            ticket=ask.ticket,
            customer_id=verdict.customer_id,
            key_id=verdict.key_id,
            chain_id=verdict.chain_id,
            month=verdict.month,
            book=ask.book,
            held_nusd=self.granted_nusd,
            operation=ask.operation,
            provider=ask.provider,
            model=ask.model,
            price_id=ask.price_id,
            install_id=ask.install_id,
            request_id=ask.request_id,
            app_id=ask.app_id,
            build_id=ask.build_id,
            end_user=ask.end_user,
            admitted_at=self.admitted_at,
            most_tokens=verdict.granted_tokens or 0,
        )
