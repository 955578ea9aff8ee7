"""The gate: admits a call, calls the plugin, settles. The only module that calls plugin code."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from math import ceil
from time import monotonic
from typing import Protocol, get_args

import httpx
import msgspec

from kaixu.catalog.catalog import Catalog, Deployment, IntegrationState
from kaixu.config.price import Price
from kaixu.metering.ledger import Ledger
from kaixu.ops.sealing import Sealer
from kaixu.plugin.errors import Overloaded, RateLimited, Stopping, UpstreamError
from kaixu.plugin.operation import Free, Job, Operation, Rank, Schedule
from kaixu.plugin.types import ChatEvent, ChatRequest, Embeddings, EmbedRequest, Usage
from kaixu.store.admission import Ask, Hold, Settlement
from kaixu.store.plugin_databases import PluginDatabases

from .admission import Admission
from .breakers import Breakers
from .cache import CacheControl, ResponseCache
from .ceiling import Ceiling, ceiling_of, embed_ceiling
from .charges import Meter
from .counting import counted_input_tokens, estimated_embed_tokens
from .identity import new_ticket
from .lanes import able, lanes_of, limited, understood
from .native_fields import with_known_fields
from .opening import NO_ANSWER, Opened, opened, retargeted
from .operations import OperationCall, ReportProgress, bounded, lending, limits_for, metered
from .preamble import with_preamble
from .reported_usage import believable
from .routing import routed
from .ticket import Ticket
from .vectors import Input, checked, of_unit_length, smallest_batches
from .wire import MeteredWire, TicketWire

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
        ledger: Ledger,
        transport: httpx.AsyncBaseTransport,
        observer: Observer,
        *,
        max_in_flight: int,
        max_per_key: int | None = None,
    ) -> None:
        self.ledger = ledger
        self.transport = transport
        self.observer = observer
        self.max_in_flight = max_in_flight
        self.max_per_key = max_per_key  # None: a quarter of all, so that one key alone never shuts out the others
        self.of_key: Counter[bytes | int | None] = Counter()
        self.in_flight: dict[Ticket, asyncio.Task[object] | None] = {}
        self.admitting: dict[Admission, asyncio.Task[object] | None] = {}
        self.stopping = False
        self.stop_at: float | None = None  # the loop's time at which the grace of running calls is over
        self.price_ids: dict[PriceKey, int] = {}
        self.breakers = Breakers()
        self.cache: ResponseCache | None = None
        self.sealer: Sealer | None = None
        self.databases: PluginDatabases | None = None

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
        request = with_preamble(with_known_fields(request, deployment), deployment.preamble)
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
        names = ("", "") if deployment is None else (deployment.provider, deployment.model)
        price_id = 0 if deployment is None else self.price_ids.get((*names, price), 0)
        return self.asked(
            caller,
            operation,
            provider=names[0],
            asked_provider=asked_provider,
            model=names[1],
            price_id=price_id,
            most_nusd=ceiling.most_nusd,
            least_nusd=ceiling.least_nusd,
            role_rank=role_rank,
        )

    def asked(
        self,
        caller: Caller,
        operation: str,
        *,
        provider: str,
        asked_provider: str,
        model: str,
        price_id: int,
        most_nusd: int,
        least_nusd: int,
        role_rank: int = 0,
        book: str = "ai",
    ) -> Ask:
        """What is asked of admission. Raises as `insist_on_room`."""
        self.insist_on_room(caller.key_hash or caller.key_id)
        return Ask(
            new_ticket(),
            caller.key_hash,
            caller.legacy_hash,
            caller.key_id,
            caller.install_id,
            caller.agent,
            role_rank,
            operation,
            provider,
            asked_provider,
            model,
            book,
            price_id,
            most_nusd,
            least_nusd,
            caller.request_id,
        )

    def insist_on_room(self, holder: bytes | int | None) -> None:
        """Raises `Overloaded`, `Stopping`, or `RateLimited` where `holder`, a key, has too many calls at one time.

        Asked twice: when a call is made, before anything else is done for it, and again in the same step in which it
        takes its place, for other calls may have come in between.
        """
        if self.stopping:
            raise Stopping("the gateway is shutting down", hint="Try again in a moment.", retry_after_s=2)
        if len(self.in_flight) + self.entering >= self.max_in_flight:
            raise Overloaded(f"{self.max_in_flight} calls are in flight, as many as the gateway takes", retry_after_s=1)
        most = self.max_per_key or -(-self.max_in_flight // 4)
        if self.of_key[holder] >= most:
            raise RateLimited(
                f"{most} calls of this key are running, as many as are allowed at one time",
                hint="Try again when one of them has ended.",
                retry_after_s=1,
                code="TOO_MANY_AT_ONCE",
            )

    def run(self, caller: Caller, integration: IntegrationState, what: Operation | Job, body_bytes: int) -> Admission:
        """Admission of an integration's operation, or of one of its jobs. See `handled`.

        Raises `Overloaded`, `Stopping`, `TooLarge`.
        """
        meter = metered(integration, what, body_bytes)
        is_job = isinstance(what, Job)
        ask = self.asked(
            caller,
            f"job:{what.name}" if is_job else what.name,
            provider=integration.name,
            asked_provider=integration.name,
            model=what.name,
            price_id=self.price_ids.get((integration.name, what.name, ""), 0),
            most_nusd=meter.most_nusd,
            least_nusd=meter.most_nusd,
            role_rank=RANKS.index("viewer" if isinstance(what, Job) else what.role),
            book=meter.book,
        )
        return Admission(self, ask, None, None, Ceiling(NOTHING, 0, 0, 0), meter=meter, timeout_s=what.timeout_s)

    async def handled(
        self,
        ticket: Ticket,
        integration: IntegrationState,
        what: Operation | Job,
        body: msgspec.Struct,
        progress: ReportProgress | None = None,
    ) -> bytes:
        """What the handler of an admitted operation says, as JSON. Whatever it raises comes out as a `KaixuError`."""
        assert ticket.meter is not None
        call = OperationCall(
            body=body,
            options=integration.options,
            customer_id=ticket.verdict.customer_id,
            key_id=ticket.verdict.key_id,
            request_id=ticket.ask.request_id,
            wire=ticket.wire,
            meter=ticket.meter,
            lend=lending(self.databases, self.sealer, integration, ticket),
            progress=progress,
        )
        began = monotonic()
        async with bounded(what.name, what.timeout_s):
            said = msgspec.json.encode(await what.handler(call))
        ticket.meter.count("bytes_out", len(said))
        ticket.meter.count("seconds", ceil(monotonic() - began))
        return said

    async def unowned(
        self,
        integration: IntegrationState,
        what: Job,
        payload: msgspec.Struct,
        request_id: str,
        progress: ReportProgress,
    ) -> bytes:
        """Run a job that a schedule has handed in; it is free, or it could not have been. Raises `KaixuError`."""
        assert isinstance(what.charge, Free)
        wire = TicketWire(self.transport, limits_for(what.timeout_s), request_id)
        call = OperationCall(
            body=payload,
            options=integration.options,
            customer_id=None,
            key_id=None,
            request_id=request_id,
            wire=wire,
            meter=Meter(what.charge, 0),
            lend=lending(self.databases, self.sealer, integration, None, request_id),
            progress=progress,
        )
        try:
            async with bounded(what.name, what.timeout_s):
                return msgspec.json.encode(await what.handler(call))
        finally:
            wire.close()

    async def scheduled(self, integration: IntegrationState, schedule: Schedule, request_id: str) -> None:
        """Run a schedule: it has no customer, and nothing is billed. Raises `KaixuError`."""
        wire = TicketWire(self.transport, limits_for(schedule.timeout_s), request_id)
        call = OperationCall(
            body=None,
            options=integration.options,
            customer_id=None,
            key_id=None,
            request_id=request_id,
            wire=wire,
            meter=Meter(Free(schedule.why_free), 0),
            lend=lending(self.databases, self.sealer, integration, None, request_id),
        )
        try:
            async with bounded(schedule.name, schedule.timeout_s):
                await schedule.handler(call)
        finally:
            wire.close()

    def reader_gone(self, ticket: Ticket) -> None:
        """Nobody waits for the answer any more: its client has left, or the server has dropped it at its own end."""
        if self.stop_at is not None and asyncio.get_running_loop().time() >= self.stop_at:
            ticket.stopped = True
        else:
            ticket.left = True

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
                for event in kept:  # all of it is known, and billed, whenever the client leaves
                    ticket.saw(event)
                for event in kept:
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

        async def opening(one: Deployment, wire: MeteredWire) -> Opened:
            def estimate() -> Usage:
                return Usage(counted_input_tokens(request, one), estimated=True)

            with ticket.wasted.watching(one, lambda: wire.used, estimate) as attempt:
                async with understood(ticket, one):
                    assert one.lane is not None
                    return await opened(one.lane.chat(retargeted(request, one), wire), attempt)

        async with understood(ticket, ticket.deployment), asyncio.timeout_at(deadline):
            ticket.served, begun = await routed(self.breakers, ticket.wire, ticket.choices, opening, ticket.tried)
        served = ticket.served
        async with self.watched(served), understood(ticket, served), aclosing(begun.events) as events:
            for event in begun.held:
                ticket.saw(event)
                yield event
            while not ticket.over_budget:
                try:
                    # Around the lane's own work only: how long the reader takes with an event is the reader's.
                    async with asyncio.timeout_at(deadline):
                        further = await anext(events, None)
                except Exception as error:
                    if ticket.finish_reason is None:
                        raise
                    # Its end was seen, so it is complete, whatever comes after.
                    ticket.wire.note(f"{type(error).__name__} after the end of an answer")
                    return
                if further is None:
                    if ticket.finish_reason is None and ticket.first_event_s is None:
                        raise UpstreamError(NO_ANSWER)
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

    async def vectors(
        self, ticket: Ticket, request: EmbedRequest, *, length: int | None = None
    ) -> list[Sequence[float]]:
        """One vector for each input, in order; asked of the vendor in its own batches, several at once.

        All or nothing: where one batch fails the others are given up, and what the
        vendor has done by then is what the call costs. With `length`, vectors of
        another length are no answer. Raises `KaixuError`.
        """
        at_once = asyncio.Semaphore(BATCHES_AT_ONCE)

        async def part(inputs: tuple[Input, ...]) -> Sequence[Sequence[float]]:
            def estimate() -> Usage:
                return Usage(estimated_embed_tokens(inputs), estimated=True)

            async def asking(one: Deployment, wire: MeteredWire) -> Embeddings:
                with ticket.wasted.watching(one, lambda: wire.used, estimate) as attempt:
                    async with understood(ticket, one):
                        assert one.lane is not None
                        wanted = msgspec.structs.replace(request, inputs=inputs, model=one.upstream)
                        answer = await one.lane.embed(wanted, wire)
                        attempt.usage = believable(answer.usage)
                        checked(answer.vectors, len(inputs), length)
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
        for ticket in self.in_flight:
            ticket.stopped = True
        tasks = {task for task in running if task is not None and task is not me}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=20)
        await self.ledger.drained()
        if self.cache is not None:
            await self.cache.drained()
