"""The gate: admits a call, calls the plugin, settles. The only module that calls plugin code."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from types import TracebackType
from typing import Protocol, TypeVar

import httpx
import msgspec

from kaixu.catalog.catalog import Catalog, Deployment
from kaixu.plugin.errors import KaixuError, Overloaded, Stopping, UpstreamError, UpstreamTimeout
from kaixu.plugin.types import ChatEvent, ChatRequest
from kaixu.store.admission import Ask, Hold, Settled, Settlement, Verdict

from .books import Books
from .ceiling import Ceiling, ceiling_of, lowered
from .features import refuse_unsupported
from .identity import new_ticket
from .month import Figures, figures_of
from .ticket import Ticket
from .verdict import refusal_of
from .wire import Limits, TicketWire, translated

log = logging.getLogger(__name__)
Answer = TypeVar("Answer")


class Caller(msgspec.Struct, frozen=True):
    """Who asks, as the edge has read it: the hashes of a virtual key, or the key's id out of a session."""

    key_hash: bytes | None
    legacy_hash: bytes | None
    key_id: int | None
    install_id: str | None
    agent: str | None
    request_id: str


class Observer(Protocol):
    """Hears of what has happened to a call; must be quick and must not raise."""

    def settled(self, ticket: Ticket, settlement: Settlement) -> None: ...


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


class Gate:
    """Admission and settlement around every call of a plugin, whatever triggered it."""

    def __init__(
        self, books: Books, transport: httpx.AsyncBaseTransport, observer: Observer, *, max_in_flight: int
    ) -> None:
        self.books = books
        self.transport = transport
        self.observer = observer
        self.max_in_flight = max_in_flight
        self.in_flight: dict[Ticket, asyncio.Task[object] | None] = {}
        self.entering = 0
        self.stopping = False
        self.price_ids: dict[tuple[str, str], int] = {}

    def chat(self, caller: Caller, deployment: Deployment, request: ChatRequest) -> Admission:
        """Admission of one chat call, as a context that settles when it is left.

        Raises, before anything is asked of the database: `LaneOff`, `PluginFailed`,
        `Unsupported`, `UnpricedModel`, `Unprocessable`, `Overloaded`, `Stopping`.
        """
        refuse_unsupported(Catalog.ready(deployment), request)
        ceiling = ceiling_of(request, deployment)
        if self.stopping:
            raise Stopping("the gateway is shutting down", hint="Try again in a moment.", retry_after_s=2)
        if len(self.in_flight) + self.entering >= self.max_in_flight:
            raise Overloaded(f"{self.max_in_flight} calls are in flight, as many as the gateway takes", retry_after_s=1)
        ask = Ask(
            new_ticket(),
            caller.key_hash,
            caller.legacy_hash,
            caller.key_id,
            caller.install_id,
            caller.agent,
            0,
            "chat",
            deployment.provider,
            deployment.model,
            "ai",
            self.price_ids[deployment.provider, deployment.model],
            ceiling.most_nusd,
            ceiling.least_nusd,
            caller.request_id,
        )
        return Admission(self, ask, deployment, request, ceiling)

    async def events(self, ticket: Ticket) -> AsyncGenerator[ChatEvent, None]:
        """The lane's answer, with the lane's time limits, ended when the budget is spent.

        Whatever a plugin raises comes out as a `KaixuError`. Sets `ticket.end_reason`
        to "budget_cut" where the stream was ended for its cost.
        """
        deployment, request = ticket.deployment, ticket.request
        assert deployment is not None
        assert deployment.lane is not None
        assert request is not None
        try:
            async with (
                asyncio.timeout(ticket.wire.limits.total_s),
                aclosing(deployment.lane.chat(request, ticket.wire)) as events,  # type: ignore[type-var]
            ):
                async for event in events:
                    ticket.saw(event)
                    yield event
                    if ticket.over_budget:
                        ticket.end_reason = "budget_cut"
                        return
        except (KaixuError, asyncio.CancelledError, GeneratorExit):
            raise
        except TimeoutError as error:
            raise UpstreamTimeout(f"the answer took longer than {ticket.wire.limits.total_s:g} s") from error
        except httpx.HTTPError as error:
            raise translated(error) from error
        except Exception as error:
            # A plugin's bug is the plugin's, not the client's and not the gateway's end.
            log.exception("lane %s failed", deployment.provider)
            raise UpstreamError(f"lane `{deployment.provider}` failed", hint="Tell your operator.") from error

    def holds(self) -> list[Hold]:
        """The reservations of all running calls."""
        return [ticket.hold() for ticket in self.in_flight]

    async def stop(self) -> None:
        """Cancel what is still in flight and await every settlement. Nothing is admitted any more."""
        self.stopping = True
        me = asyncio.current_task()
        tasks = {task for task in self.in_flight.values() if task is not None and task is not me}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=20)
        await self.books.drained()


class Admission:
    """`async with gate.chat(...) as ticket`: admitted inside, settled outside, however it was left."""

    __slots__ = ("ask", "ceiling", "deployment", "gate", "request", "ticket")

    def __init__(self, gate: Gate, ask: Ask, deployment: Deployment, request: ChatRequest, ceiling: Ceiling) -> None:
        self.gate = gate
        self.ask = ask
        self.deployment = deployment
        self.request = request
        self.ceiling = ceiling
        self.ticket: Ticket | None = None

    async def __aenter__(self) -> Ticket:
        """Raises `Refusal` when admission says no, `DatabaseAway` when it cannot say anything."""
        gate = self.gate
        gate.entering += 1
        try:
            answer = gate.books.admit(self.ask)
            try:
                verdict = await asyncio.shield(answer)
            except asyncio.CancelledError:
                # The database may say yes after we have gone; then the hold goes back.
                answer.add_done_callback(self._give_back)
                raise
        finally:
            gate.entering -= 1
        if verdict.refused is not None:
            raise refusal_of(verdict, self.ask)
        self.ticket = self._ticket(verdict)
        gate.in_flight[self.ticket] = asyncio.current_task()
        return self.ticket

    def _ticket(self, verdict: Verdict) -> Ticket:
        request = lowered(self.request, self.ceiling, verdict.granted_nusd or 0)
        limits = limits_of(self.deployment)
        return Ticket(
            self.ask,
            verdict,
            TicketWire(self.gate.transport, limits),
            self.ceiling.price,
            deployment=self.deployment,
            request=request,
            lowered=request is not self.request,
        )

    def _give_back(self, answer: asyncio.Future[Verdict]) -> None:
        if answer.cancelled() or answer.exception() is not None or answer.result().refused is not None:
            return
        self.gate.books.settle(self._ticket(answer.result()).bill("released"))

    def hand_over(self, task: asyncio.Task[object]) -> None:
        """From now on `task` leaves the block; a stop cancels it instead of the one who entered."""
        assert self.ticket is not None
        self.gate.in_flight[self.ticket] = task

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Settle; the ticket's `figures` then show the month after it. Never raises for a database that is away."""
        ticket = self.ticket
        assert ticket is not None
        ticket.wire.close()
        settlement = ticket.bill(outcome(ticket, error))
        ticket.settlement = settlement
        answer = self.gate.books.settle(settlement)
        try:
            await finish(answer)
        finally:
            self.gate.in_flight.pop(ticket, None)
            if not answer.cancelled() and answer.exception() is None:
                ticket.figures = after(ticket, settlement, answer.result())
                self.gate.observer.settled(ticket, settlement)


def outcome(ticket: Ticket, error: BaseException | None) -> str:
    """How a call ended, by the way its block was left.

    A call that no vendor had accepted is released. So is one that failed before
    anything of it reached the client: nobody pays for an error.
    """
    if error is None:
        return ticket.end_reason or "complete"
    delivered = ticket.first_event_s is not None
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        # What was sent to a vendor may have been worked on, answer or not.
        return "client_gone" if delivered or ticket.wire.used else "released"
    return ticket.end_reason or "released"


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


def limits_of(deployment: Deployment) -> Limits:
    """The deployment's time limits, as its wire wants them."""
    timeouts = deployment.timeouts
    return Limits(
        connect_s=timeouts.connect_s,
        first_byte_s=timeouts.first_byte_s,
        between_bytes_s=timeouts.between_bytes_s,
        total_s=timeouts.total_s,
        retries=deployment.retries,
    )
