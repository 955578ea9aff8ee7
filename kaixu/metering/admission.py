"""An admission: entered it is a ticket, left it is settled, however it was left."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

import msgspec

from kaixu.catalog.catalog import Deployment
from kaixu.plugin.types import ChatRequest
from kaixu.store.admission import Ask, Settled, Settlement, Verdict

from .ceiling import Ceiling, lowered
from .charges import Meter
from .ending import not_written, settlement_of
from .month import Figures, figures_of
from .operations import limits_for
from .routing import limits_of
from .ticket import Ticket
from .verdict import refusal_of
from .wire import TicketWire, WireLimits

if TYPE_CHECKING:
    from .gate import Gate

Answer = TypeVar("Answer")

#: For calls that no vendor hears of.
FREE_LIMITS = WireLimits(connect_s=10, first_byte_s=60, between_bytes_s=60, total_s=600, retries=0)


async def finish(answer: asyncio.Future[Answer]) -> Answer:
    """Await `answer` to its end, even if the one who waits is cancelled meanwhile; then be cancelled."""
    cancelled: asyncio.CancelledError | None = None
    while not answer.done():
        try:
            await asyncio.shield(answer)
        except asyncio.CancelledError as error:
            if answer.cancelled():
                raise
            cancelled = error
        except Exception:  # noqa: BLE001 - raised again by result() below
            break
    if cancelled is not None:
        raise cancelled
    return answer.result()


class Admission:
    """`async with gate.chat(...) as ticket`: admitted inside, settled outside, however it was left."""

    __slots__ = (
        "ask",
        "cache_control",
        "ceiling",
        "choices",
        "deployment",
        "gate",
        "meter",
        "request",
        "ticket",
        "timeout_s",
    )

    def __init__(
        self,
        gate: Gate,
        ask: Ask,
        deployment: Deployment | None,
        request: ChatRequest | None,
        ceiling: Ceiling,
        choices: tuple[Deployment, ...] = (),
        cache_control: str = "",
        *,
        meter: Meter | None = None,
        timeout_s: float | None = None,
    ) -> None:
        self.gate = gate
        self.ask = ask
        self.deployment = deployment
        self.request = request
        self.ceiling = ceiling
        self.choices = choices
        self.cache_control = cache_control
        self.meter = meter
        self.timeout_s = timeout_s
        self.ticket: Ticket | None = None

    async def __aenter__(self) -> Ticket:
        """Raises `Refusal` when admission says no, `DatabaseAway` when it cannot say anything.

        Raises `Overloaded`, `Stopping` or `RateLimited` where there is no room for the call any more.
        """
        gate = self.gate
        gate.insist_on_room(self.ask.key_hash or self.ask.key_id)
        gate.admitting[self] = asyncio.current_task()
        gate.of_key[self.ask.key_hash or self.ask.key_id] += 1
        try:
            answer = gate.ledger.admit(self.ask)
            try:
                verdict = await asyncio.shield(answer)
            except asyncio.CancelledError:
                # The database may say yes after we have gone; then the hold goes back.
                answer.add_done_callback(self._give_back)
                raise
            if verdict.refused is not None:
                raise refusal_of(verdict, self.ask)
            self.ticket = self._ticket(verdict)
            gate.in_flight[self.ticket] = asyncio.current_task()
        finally:
            del gate.admitting[self]
            if self.ticket is None:
                gate.left(self.ask)
        return self.ticket

    def _ticket(self, verdict: Verdict) -> Ticket:
        request = self.request
        if request is not None:
            request = lowered(request, self.ceiling, verdict.granted_nusd or 0)
        limits = widest(self.choices) if self.choices else FREE_LIMITS
        if self.timeout_s is not None:
            limits = limits_for(self.timeout_s)
        return Ticket(
            self.ask,
            verdict,
            TicketWire(self.gate.transport, limits, self.ask.request_id),
            self.ceiling.price,
            deployment=self.deployment,
            request=request,
            lowered=request is not self.request,
            choices=self.choices,
            cache_control=self.cache_control,
            meter=self.meter,
            most_input_tokens=self.ceiling.input_tokens,
        )

    def _give_back(self, answer: asyncio.Future[Verdict]) -> None:
        if answer.cancelled() or answer.exception() is not None or answer.result().refused is not None:
            return
        self.gate.ledger.settle(self._ticket(answer.result()).bill("released"))

    def hand_over(self, task: asyncio.Task[object]) -> None:
        """From now on `task` leaves the block; a stop cancels it instead of the one who entered."""
        assert self.ticket is not None
        self.gate.in_flight[self.ticket] = task

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Settle; the ticket's `figures` then show the month after it.

        Never raises for a database that is away, but where the call has something to write alongside: then both
        are written or neither, and what kept it from being written is raised. What the vendor has done for it is
        settled all the same (see `ending`).
        """
        ticket = self.ticket
        assert ticket is not None
        ticket.wire.close()
        try:
            settlement = settlement_of(ticket, error)
            ticket.settlement = settlement
            answer: asyncio.Future[Settled | None]
            if error is None and ticket.alongside is not None:
                answer = self.gate.ledger.settle_alongside(settlement, ticket.alongside)
            else:
                answer = self.gate.ledger.settle(settlement)
            try:
                await finish(answer)
            finally:
                if not answer.cancelled() and (failure := answer.exception()) is not None:
                    ticket.settlement = settlement = not_written(ticket, failure)
                    answer = self.gate.ledger.settle(settlement)
                    await finish(answer)
                if not answer.cancelled() and answer.exception() is None:
                    ticket.figures = after(ticket, settlement, answer.result())
                    self.gate.observer.settled(ticket, settlement)
        finally:
            if ticket in self.gate.in_flight:
                del self.gate.in_flight[ticket]
                self.gate.left(self.ask)


def after(ticket: Ticket, settlement: Settlement, settled: Settled | None) -> Figures:
    """The month after a settlement; worked out here while the database is away."""
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


def widest(choices: Sequence[Deployment]) -> WireLimits:
    """The limits of whichever deployment may take longest in all."""
    return limits_of(max(choices, key=lambda one: one.timeouts.total_s))
