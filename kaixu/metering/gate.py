"""The gate: admits a call, calls the plugin, settles. The only module that calls plugin code."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Protocol, get_args

import httpx
import msgspec

from kaixu.catalog.catalog import Catalog, Deployment
from kaixu.config.price import Price
from kaixu.plugin.errors import KaixuError, Overloaded, RateLimited, Stopping, UpstreamError, UpstreamTimeout
from kaixu.plugin.lane import Lane
from kaixu.plugin.operation import Rank
from kaixu.plugin.types import ChatEvent, ChatRequest, EmbedRequest
from kaixu.store.admission import Ask, Hold, Settlement

from .admission import Admission
from .books import Books
from .ceiling import Ceiling, ceiling_of, embed_ceiling
from .features import refuse_unsupported
from .identity import new_ticket
from .ticket import Ticket
from .vectors import Input, batches, checked, of_unit_length
from .wire import translated

log = logging.getLogger(__name__)

RANKS: tuple[Rank, ...] = get_args(Rank)

NOTHING = Price(0, 0, 0, 0, 0)

#: How many batches of one embedding call are with the vendor at one time.
BATCHES_AT_ONCE = 8


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


class Gate:
    """Admission and settlement around every call of a plugin, whatever triggered it."""

    def __init__(
        self,
        books: Books,
        transport: httpx.AsyncBaseTransport,
        observer: Observer,
        *,
        max_in_flight: int,
        max_per_key: int | None = None,
    ) -> None:
        self.books = books
        self.transport = transport
        self.observer = observer
        self.max_in_flight = max_in_flight
        self.max_per_key = max_per_key  # None: a quarter of all, so that one key alone never shuts out the others
        self.of_key: Counter[bytes | int | None] = Counter()
        self.in_flight: dict[Ticket, asyncio.Task[object] | None] = {}
        self.admitting: dict[Admission, asyncio.Task[object] | None] = {}
        self.stopping = False
        self.price_ids: dict[tuple[str, str], int] = {}

    def chat(self, caller: Caller, deployment: Deployment, asked_provider: str, request: ChatRequest) -> Admission:
        """Admission of one chat call, as a context that settles when it is left.

        `asked_provider` is the name by which the deployment was found (see `Catalog.resolve`).

        Raises, before anything is asked of the database: `LaneOff`, `PluginFailed`,
        `Unsupported`, `UnpricedModel`, `Unprocessable`, `Overloaded`, `Stopping`.
        """
        refuse_unsupported(Catalog.ready(deployment), request)
        ceiling = ceiling_of(request, deployment)
        ask = self._ask(caller, deployment, asked_provider, "chat", ceiling)
        return Admission(self, ask, deployment, request, ceiling)

    def embed(
        self,
        caller: Caller,
        deployment: Deployment,
        asked_provider: str,
        request: EmbedRequest,
        *,
        operation: str = "embed",
        role: Rank = "viewer",
    ) -> Admission:
        """Admission of one embedding call, of any number of inputs. Raises as `chat` does."""
        Catalog.ready(deployment)
        ceiling = embed_ceiling(request, deployment)
        ask = self._ask(caller, deployment, asked_provider, operation, ceiling, RANKS.index(role))
        return Admission(self, ask, deployment, None, ceiling)

    def free(
        self,
        caller: Caller,
        operation: str,
        *,
        role: Rank = "viewer",
        deployment: Deployment | None = None,
        asked_provider: str = "",
    ) -> Admission:
        """Admission of what costs nothing: everything is asked but money. With a deployment, also the allowlists.

        Raises `Overloaded`, `Stopping`.
        """
        ceiling = Ceiling(NOTHING, 0, 0, 0)
        ask = self._ask(caller, deployment, asked_provider, operation, ceiling, RANKS.index(role))
        return Admission(self, ask, deployment, None, ceiling)

    def _ask(
        self,
        caller: Caller,
        deployment: Deployment | None,
        asked_provider: str,
        operation: str,
        ceiling: Ceiling,
        role_rank: int = 0,
    ) -> Ask:
        if self.stopping:
            raise Stopping("the gateway is shutting down", hint="Try again in a moment.", retry_after_s=2)
        if len(self.in_flight) + self.entering >= self.max_in_flight:
            raise Overloaded(f"{self.max_in_flight} calls are in flight, as many as the gateway takes", retry_after_s=1)
        most = self.max_per_key or -(-self.max_in_flight // 4)
        if self.of_key[caller.key_hash or caller.key_id] >= most:
            raise RateLimited(
                f"{most} calls of this key are running, as many as it may have at one time",
                hint="Try again when one of them has ended.",
                retry_after_s=1,
                code="TOO_MANY_AT_ONCE",
            )
        return Ask(
            new_ticket(),
            caller.key_hash,
            caller.legacy_hash,
            caller.key_id,
            caller.install_id,
            caller.agent,
            role_rank,
            operation,
            "" if deployment is None else deployment.provider,
            asked_provider,
            "" if deployment is None else deployment.model,
            "ai",
            0 if deployment is None else self.price_ids.get((deployment.provider, deployment.model), 0),
            ceiling.most_nusd,
            ceiling.least_nusd,
            caller.request_id,
        )

    def left(self, ask: Ask) -> None:
        """A call of `ask`'s key is over."""
        holder = ask.key_hash or ask.key_id
        self.of_key[holder] -= 1
        if not self.of_key[holder]:
            del self.of_key[holder]

    async def events(self, ticket: Ticket) -> AsyncGenerator[ChatEvent, None]:
        """The lane's answer, with the lane's time limits, ended when the budget is spent.

        Whatever a plugin raises comes out as a `KaixuError`. Sets `ticket.end_reason`
        to "budget_cut" where the stream was ended for its cost.
        """
        lane, request = lane_of(ticket), ticket.request
        assert request is not None
        deadline = asyncio.get_running_loop().time() + ticket.wire.limits.total_s
        async with understood(ticket), aclosing(lane.chat(request, ticket.wire)) as events:  # type: ignore[type-var]
            while True:
                # Around the lane's own work only: how long the reader takes with an event is the reader's.
                async with asyncio.timeout_at(deadline):
                    event = await anext(events, None)
                if event is None:
                    return
                ticket.saw(event)
                yield event
                if ticket.over_budget:
                    ticket.end_reason = "budget_cut"
                    return

    async def vectors(self, ticket: Ticket, request: EmbedRequest) -> list[Sequence[float]]:
        """One vector for each input, in order; asked of the vendor in its own batches, several at once.

        All or nothing: where one batch fails the others are given up, and what the
        vendor has done by then is what the call costs. Raises `KaixuError`.
        """
        lane = lane_of(ticket)
        at_once = asyncio.Semaphore(BATCHES_AT_ONCE)

        async def part(inputs: tuple[Input, ...]) -> Sequence[Sequence[float]]:
            async with at_once:
                done = ticket.embedding(inputs)
                answer = await lane.embed(msgspec.structs.replace(request, inputs=inputs), ticket.wire)
                checked(answer.vectors, len(inputs))
                done(answer.usage)
                return of_unit_length(answer.vectors) if shortened else answer.vectors

        deployment = ticket.deployment
        shortened = deployment is not None and request.dimensions not in (None, deployment.dimensions)
        parts = batches(lane, request)
        async with limited(ticket):
            if len(parts) == 1:
                return list(await part(parts[0]))
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(part(inputs)) for inputs in parts]
            except BaseExceptionGroup as errors:
                raise errors.exceptions[0] from errors
            vectors = [vector for task in tasks for vector in task.result()]
            if len({len(vector) for vector in vectors}) > 1:
                raise UpstreamError("the vendor answered with vectors that differ in length")
            return vectors

    @property
    def entering(self) -> int:
        """How many calls wait for their admission."""
        return len(self.admitting)

    def calls(self) -> list[Deployment]:
        """The deployments of all calls that run or wait for their admission."""
        running = [ticket.deployment for ticket in self.in_flight if ticket.deployment is not None]
        return running + [one.deployment for one in self.admitting if one.deployment is not None]

    def holds(self) -> list[Hold]:
        """The reservations of all running calls; what is being settled runs no more."""
        return [ticket.hold() for ticket in self.in_flight if ticket.settlement is None]

    async def idle(self) -> None:
        """Return when no call is in flight."""
        while self.in_flight or self.entering:  # noqa: ASYNC110 - asked a few times at the very end only
            await asyncio.sleep(0.05)

    async def stop(self) -> None:
        """Cancel what is still in flight and await every settlement. Nothing is admitted any more."""
        self.stopping = True
        me = asyncio.current_task()
        running = (*self.in_flight.values(), *self.admitting.values())
        tasks = {task for task in running if task is not None and task is not me}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=20)
        await self.books.drained()


def lane_of(ticket: Ticket) -> Lane:
    """The lane of an admitted call."""
    assert ticket.deployment is not None
    assert ticket.deployment.lane is not None
    return ticket.deployment.lane


@asynccontextmanager
async def limited(ticket: Ticket) -> AsyncIterator[None]:
    """The time that a call may take in all; what a plugin raises in it comes out as a `KaixuError`."""
    async with understood(ticket), asyncio.timeout(ticket.wire.limits.total_s):
        yield


@asynccontextmanager
async def understood(ticket: Ticket) -> AsyncIterator[None]:
    """Whatever a plugin raises in it comes out as a `KaixuError`."""
    try:
        yield
    except (KaixuError, asyncio.CancelledError, GeneratorExit):
        raise
    except TimeoutError as error:
        raise UpstreamTimeout(f"the answer took longer than {ticket.wire.limits.total_s:g} s") from error
    except httpx.HTTPError as error:
        raise translated(error) from error
    except Exception as error:
        # A plugin's bug is the plugin's, not the client's and not the gateway's end.
        log.exception("lane %s failed", ticket.ask.provider)
        raise UpstreamError(f"lane `{ticket.ask.provider}` failed", hint="Tell your operator.") from error
