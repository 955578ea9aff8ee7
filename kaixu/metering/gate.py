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
from kaixu.plugin.types import ChatEvent, ChatRequest, Embeddings, EmbedRequest
from kaixu.store.admission import Ask, Hold, Settlement

from .admission import Admission
from .books import Books
from .breakers import Breakers
from .cache import CacheControl, ResponseCache
from .ceiling import Ceiling, ceiling_of, embed_ceiling
from .features import refuse_unsupported
from .identity import new_ticket
from .opening import Opened, opened, retargeted
from .preamble import with_preamble
from .routing import routed
from .ticket import Ticket
from .vectors import Input, checked, of_unit_length, smallest_batches
from .wire import LentWire, translated

log = logging.getLogger(__name__)

RANKS: tuple[Rank, ...] = get_args(Rank)

NOTHING = Price(0, 0, 0, 0, 0)

#: Provider, model, and which of the model's prices: "" its own, "cached" that of an answer out of the cache.
PriceKey = tuple[str, str, str]

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
    cache_control: CacheControl = ""


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
        self.price_ids: dict[PriceKey, int] = {}
        self.breakers = Breakers()
        self.cache: ResponseCache | None = None

    def chat(
        self,
        caller: Caller,
        deployment: Deployment,
        asked_provider: str,
        request: ChatRequest,
        *,
        operation: str = "chat",
        price: str = "",
    ) -> Admission:
        """Admission of one chat call, as a context that settles when it is left.

        `asked_provider` is the name by which the deployment was found (see `Catalog.resolve`), `price` says which of
        the model's prices it is billed by (see `Deployment.prices`).

        Raises, before anything is asked of the database: `LaneOff`, `PluginFailed`,
        `Unsupported`, `UnpricedModel`, `Unprocessable`, `Overloaded`, `Stopping`.
        """
        Catalog.ready(deployment)
        deployment = deployment.priced(price)
        request = with_preamble(request, deployment.preamble)
        choices = able(deployment, request)
        ceiling = max((ceiling_of(request, one) for one in choices), key=lambda one: one.most_nusd)
        ask = self._ask(caller, deployment, asked_provider, operation, ceiling, price=price)
        return Admission(self, ask, deployment, request, ceiling, choices, caller.cache_control)

    def embed(
        self,
        caller: Caller,
        deployment: Deployment,
        asked_provider: str,
        request: EmbedRequest,
        *,
        operation: str = "embed",
        role: Rank = "viewer",
        price: str = "",
    ) -> Admission:
        """Admission of one embedding call, of any number of inputs. Raises as `chat` does."""
        Catalog.ready(deployment)
        deployment = deployment.priced(price)
        choices = deployment.ready
        ceiling = max((embed_ceiling(request, one) for one in choices), key=lambda one: one.most_nusd)
        ask = self._ask(caller, deployment, asked_provider, operation, ceiling, RANKS.index(role), price=price)
        return Admission(self, ask, deployment, None, ceiling, choices)

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
        *,
        price: str = "",
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
            0 if deployment is None else self.price_ids.get((deployment.provider, deployment.model, price), 0),
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
        """The answer of one of the model's deployments, within their time limits, ended when the budget is spent.

        Nothing comes before a deployment has begun to say something: until then
        another may take its place. Whatever a plugin raises comes out as a `KaixuError`.
        Sets `ticket.end_reason` to "budget_cut" where the stream was ended for its cost.
        """
        request = ticket.request
        assert request is not None
        question = None if self.cache is None else self.cache.question(ticket)
        if self.cache is not None and question is not None and ticket.cache_control == "":
            kept = await self.cache.find(ticket, question)
            if kept is not None:
                ticket.kept(self.price_ids.get((ticket.ask.provider, ticket.ask.model, "cached"), 0))
                for event in kept:
                    ticket.saw(event)
                    yield event
                return
        said: list[ChatEvent] = []
        async with aclosing(self._asked(ticket, request)) as events:
            async for event in events:
                if question is not None:
                    said.append(event)
                yield event
        if self.cache is not None and question is not None and ticket.cache_control != "no-store":
            self.cache.keep(ticket, question, said)

    async def _asked(self, ticket: Ticket, request: ChatRequest) -> AsyncGenerator[ChatEvent, None]:
        """See `events`; of a vendor in any case."""
        deadline = asyncio.get_running_loop().time() + ticket.wire.limits.total_s

        async def opening(one: Deployment, wire: LentWire) -> Opened:
            async with understood(ticket, one):
                assert one.lane is not None
                return await opened(one.lane.chat(retargeted(request, one), wire))

        async with understood(ticket, ticket.deployment), asyncio.timeout_at(deadline):
            ticket.served, begun = await routed(self.breakers, ticket.wire, ticket.choices, opening, ticket.tried)
        served = ticket.served
        async with self.watched(served), understood(ticket, served), aclosing(begun.events) as events:
            for event in begun.held:
                ticket.saw(event)
                yield event
            while not ticket.over_budget:
                # Around the lane's own work only: how long the reader takes with an event is the reader's.
                async with asyncio.timeout_at(deadline):
                    further = await anext(events, None)
                if further is None:
                    return
                ticket.saw(further)
                yield further
            ticket.end_reason = "budget_cut"

    @asynccontextmanager
    async def watched(self, one: Deployment) -> AsyncIterator[None]:
        """A deployment that breaks off in the middle has failed, too."""
        try:
            yield
        except Exception as error:
            self.breakers.failed(one, error)
            raise

    async def vectors(self, ticket: Ticket, request: EmbedRequest) -> list[Sequence[float]]:
        """One vector for each input, in order; asked of the vendor in its own batches, several at once.

        All or nothing: where one batch fails the others are given up, and what the
        vendor has done by then is what the call costs. Raises `KaixuError`.
        """
        at_once = asyncio.Semaphore(BATCHES_AT_ONCE)

        async def part(inputs: tuple[Input, ...]) -> Sequence[Sequence[float]]:
            async def asking(one: Deployment, wire: LentWire) -> Embeddings:
                async with understood(ticket, one):
                    assert one.lane is not None
                    wanted = msgspec.structs.replace(request, inputs=inputs, model=one.upstream)
                    answer = await one.lane.embed(wanted, wire)
                    checked(answer.vectors, len(inputs))
                    return answer

            async with at_once:
                done = ticket.embedding(inputs)
                ticket.served, answer = await routed(self.breakers, ticket.wire, ticket.choices, asking, ticket.tried)
                done(answer.usage)
                return of_unit_length(answer.vectors) if shortened else answer.vectors

        deployment = ticket.deployment
        shortened = deployment is not None and request.dimensions not in (None, deployment.dimensions)
        parts = smallest_batches(lanes_of(ticket), request)
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
        if self.cache is not None:
            await self.cache.drained()


def able(deployment: Deployment, request: ChatRequest) -> tuple[Deployment, ...]:
    """Those deployments that can do what `request` asks for. Raises what the first of them says if none can."""
    choices = deployment.ready
    able_ones, refused = [], None
    for one in choices:
        assert one.lane is not None
        try:
            refuse_unsupported(one.lane, request)
        except KaixuError as error:
            refused = refused or error
        else:
            able_ones.append(one)
    if not able_ones and refused is not None:
        raise refused
    return tuple(able_ones)


def lanes_of(ticket: Ticket) -> list[Lane]:
    """The lanes that may serve an admitted call."""
    return [one.lane for one in ticket.choices if one.lane is not None]


@asynccontextmanager
async def limited(ticket: Ticket) -> AsyncIterator[None]:
    """The time that a call may take in all; what a plugin raises in it comes out as a `KaixuError`."""
    async with understood(ticket, ticket.deployment), asyncio.timeout(ticket.wire.limits.total_s):
        yield


@asynccontextmanager
async def understood(ticket: Ticket, one: Deployment | None) -> AsyncIterator[None]:
    """Whatever a plugin raises in it comes out as a `KaixuError`; `one` is the deployment that was asked."""
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
        log.exception("lane %s failed", ticket.ask.provider if one is None else one.state.name)
        raise UpstreamError(f"lane `{ticket.ask.provider}` failed", hint="Tell your operator.") from error
