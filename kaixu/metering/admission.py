"""An admission: entering it gives a ticket, leaving it settles, however it is left."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Generic, NamedTuple, Protocol, TypeVar

import msgspec

from kaixu.catalog.catalog import Deployment
from kaixu.ops.finish import finish
from kaixu.store.admission import Ask, Settled, Settlement, Verdict

from .ending import settlement_of, unwritten_settlement
from .in_flight import InFlightCalls
from .ledger import Ledger
from .month import Figures, figures_of
from .ticket import Ticket
from .verdict import refusal_of

TicketT = TypeVar("TicketT", bound=Ticket, covariant=True)


class SettlementObserver(Protocol):
    """Receives every settlement; must be quick and must not raise."""

    def settled(self, ticket: Ticket, settlement: Settlement) -> None: ...


class CallObserver(SettlementObserver, Protocol):
    """Receives every refusal of admission, too."""

    def refused(self, verdict: Verdict) -> None: ...


class Offer(NamedTuple, Generic[TicketT]):
    """A call at a price: the request to admission, and the ticket that is made where it is admitted."""

    ask: Ask
    make_ticket: Callable[[Verdict], TicketT]


#: The offer at the price of the caller's plan; None: at the usual one.
PlanOffer = Callable[[], Awaitable[Offer[TicketT] | None]]


class Admission(Generic[TicketT]):
    """`async with admit_chat(…) as ticket`: admitted inside, settled outside, however it was left."""

    __slots__ = ("ask", "calls", "deployment", "ledger", "make_ticket", "observer", "plan_offer", "ticket")

    def __init__(
        self,
        ask: Ask,
        make_ticket: Callable[[Verdict], TicketT],
        *,
        ledger: Ledger,
        calls: InFlightCalls,
        observer: CallObserver,
        deployment: Deployment | None = None,
        plan_offer: PlanOffer[TicketT] | None = None,
    ) -> None:
        self.plan_offer = plan_offer
        self.ask = ask
        self.make_ticket = make_ticket
        self.ledger = ledger
        self.calls = calls
        self.observer = observer
        self.deployment = deployment
        self.ticket: TicketT | None = None

    async def __aenter__(self) -> TicketT:
        """Raises `Refusal` if admission refuses the call, `DatabaseAway` if the database does not answer.

        Raises `Overloaded`, `Stopping` or `RateLimited` if there is no room for another call.
        """
        self.calls.enter(self.ask, self.deployment)
        try:
            if self.plan_offer is not None and (offer := await self.plan_offer()) is not None:
                self.ask, self.make_ticket = offer
            answer = self.ledger.admit(self.ask)
            try:
                verdict = await answer
            except asyncio.CancelledError:
                self._release(answer)
                raise
            facts = self.ask.facts
            facts.customer_id, facts.key_id, facts.key_last4 = verdict.customer_id, verdict.key_id, verdict.key_last4
            if verdict.refused is not None:
                self.observer.refused(verdict)
                raise refusal_of(verdict, self.ask)
            ticket = self.make_ticket(verdict)
        except BaseException:
            self.calls.refuse(self.ask)
            raise
        facts.admitted_at = ticket.admitted_at
        self.ticket = ticket
        self.calls.admit(ticket)
        return ticket

    def _release(self, answer: asyncio.Future[Verdict]) -> None:
        """Release the hold of a call that was admitted when its caller had gone."""
        if answer.exception() is None and answer.result().refused is None:
            self.ledger.settle(self.make_ticket(answer.result()).bill("released"))

    def transfer_to(self, task: asyncio.Task[object]) -> None:
        """Transfer settlement to `task`; shutdown cancels that task."""
        assert self.ticket is not None
        self.calls.transfer(self.ticket, task)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Settle; the ticket's `figures` then show the month after it.

        Never raises because the database is away, except where the call has a result to write with its settlement:
        then both are written or neither, and what prevented it is raised. What the vendor has done for the call is
        settled all the same (see `ending`).
        """
        ticket = self.ticket
        assert ticket is not None
        ticket.wire.close()
        ticket.wire.clean(error)
        try:
            settlement = settlement_of(ticket, error)
            ticket.settlement = settlement
            self.ask.facts.has_usage_event = settlement.end_reason != "released"
            answer: asyncio.Future[Settled | None]
            try:
                if error is None and ticket.alongside is not None:
                    answer = self.ledger.settle_alongside(settlement, ticket.alongside)
                    await finish(answer)
                else:
                    answer = self.ledger.settle(settlement)
                    await answer  # to its end, see `UncancelledFuture`
            finally:
                if not answer.cancelled() and (failure := answer.exception()) is not None:
                    ticket.settlement = settlement = unwritten_settlement(ticket, failure)
                    self.ask.facts.has_usage_event = settlement.end_reason != "released"
                    answer = self.ledger.settle(settlement)
                    await answer
                if not answer.cancelled() and answer.exception() is None:
                    ticket.figures = figures_after(ticket, settlement, answer.result())
                    self.observer.settled(ticket, settlement)
        finally:
            self.calls.end(ticket)


def figures_after(ticket: Ticket, settlement: Settlement, settled: Settled | None) -> Figures:
    """The month after a settlement; computed here while the database is away."""
    if settled is not None:
        return figures_of(settled)
    before = ticket.figures
    return msgspec.structs.replace(
        before,
        customer_spent_nusd=before.customer_spent_nusd + settlement.cost_nusd,
        customer_held_nusd=before.customer_held_nusd - ticket.granted_nusd,
        key_spent_nusd=before.key_spent_nusd + settlement.cost_nusd,
        key_held_nusd=before.key_held_nusd - ticket.granted_nusd,
    )
