"""The gate: every call is admitted and settled through it.

What calls plugins is beside it: `chat`, `embeddings` and `integrations`, and nothing else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import get_args

import httpx
import msgspec

from kaixu.catalog.catalog import Deployment
from kaixu.config.plans_section import MILLION
from kaixu.config.tags import end_user_tag
from kaixu.ops.call_facts import CallFacts
from kaixu.ops.events import MonitorEvent
from kaixu.ops.sealing import Sealer
from kaixu.plugin.access import Rank
from kaixu.store.admission import Ask, Verdict
from kaixu.store.plugin_databases import PluginDatabases

from .admission import Admission, CallObserver, Offer, PlanOffer, TicketT
from .breakers import Breakers
from .cache import CacheControl, ResponseCache
from .call_blobs import BlobStore
from .ceiling import Ceiling
from .identity import new_ticket
from .in_flight import InFlightCalls
from .ledger import Ledger
from .plain_answers import PlainAnswers
from .plan_prices import PlanPrices, caller_key
from .price_keys import PriceKey, model_key
from .recent_calls import RecentCalls
from .ticket import Ticket
from .wire import TicketWire, WireLimits

RANKS: tuple[Rank, ...] = get_args(Rank)

#: For calls that go to no vendor.
FREE_LIMITS = WireLimits(connect_s=10, first_byte_s=60, between_bytes_s=60, total_s=600, retries=0)


class Caller(msgspec.Struct, frozen=True):
    """Who makes a call: the hashes of a virtual key, or the id of the key that a session is for.

    `legacy_hash`: what the key may be stored under instead of `key_hash`; see `other_hashes` in
    kaixu/accounts/key_material.py. `app_id`, `build_id`: the client's program. `facts`: where to write what is learned
    about the call.
    """

    key_hash: bytes | None
    legacy_hash: bytes | None
    key_id: int | None
    install_id: str | None
    agent: str | None
    request_id: str
    cache_control: CacheControl = ""
    app_id: str | None = None
    build_id: str | None = None
    facts: CallFacts = msgspec.field(default_factory=CallFacts)


class Gate:
    """Admission and settlement around every call, whatever triggered it, and what such calls share."""

    def __init__(
        self,
        ledger: Ledger,
        calls: InFlightCalls,
        transport: httpx.AsyncBaseTransport,
        observer: CallObserver,
        *,
        public_transport: httpx.AsyncBaseTransport,
        scratch: Path,
        cache: ResponseCache,
        databases: PluginDatabases,
        sealer: Sealer,
        price_ids: dict[PriceKey, int],
        blobs: BlobStore,
        public_url: str | None = None,
        recent: RecentCalls | None = None,
        plan_prices: PlanPrices | None = None,
        record_event: Callable[[MonitorEvent], None] | None = None,
        create_customer: Callable[[str, str | None, str, str], Awaitable[int]] | None = None,
        sends_mail: Callable[[], bool] = lambda: False,
    ) -> None:
        self.ledger = ledger
        self.calls = calls
        self.transport = transport
        self.public_transport = public_transport  # reaches public addresses only
        self.scratch = scratch  # the folder of calls' temporary files
        self.observer = observer
        self.cache = cache
        self.databases = databases
        self.sealer = sealer
        self.blobs = blobs
        self.public_url = public_url  # where browsers reach the gateway
        self.price_ids = price_ids
        self.breakers = Breakers(recent)
        self.plain_answers = PlainAnswers()
        self.plan_prices = plan_prices
        self.record_event = record_event  # into the monitor
        self.sends_mail = sends_mail  # whether it sends any, now
        self.create_customer = create_customer  # with an address and a plan, by whom, in which request; its id

    def free(
        self,
        caller: Caller,
        operation: str,
        *,
        role: Rank = "viewer",
        deployment: Deployment | None = None,
        requested_provider: str = "",
    ) -> Admission[Ticket]:
        """Admission of a call that costs nothing: all checks but money. With a deployment, also the allowlists.

        Raises `Overloaded`, `Stopping`.
        """
        ask = self.model_ask(caller, operation, deployment, requested_provider, role=role)

        def make_ticket(verdict: Verdict) -> Ticket:
            return Ticket(ask, verdict, self.wire(ask, FREE_LIMITS), deployment)

        return self.admission(ask, make_ticket, deployment)

    def admission(
        self,
        ask: Ask,
        make_ticket: Callable[[Verdict], TicketT],
        deployment: Deployment | None = None,
        plan_offer: PlanOffer[TicketT] | None = None,
    ) -> Admission[TicketT]:
        """A context that admits `ask` when it is entered, and settles the ticket when it is left."""
        return Admission(
            ask,
            make_ticket,
            ledger=self.ledger,
            calls=self.calls,
            observer=self.observer,
            deployment=deployment,
            plan_offer=plan_offer,
        )

    def priced_admission(
        self, deployment: Deployment, offer_of: Callable[[Deployment, Ask | None], Offer[TicketT]]
    ) -> Admission[TicketT]:
        """The admission of a model's call at the price of the caller's plan.

        `offer_of` makes the offer for a deployment; the second time, at the plan's price, for the same ask.
        """
        offer = offer_of(deployment, None)
        prices = self.plan_prices
        if prices is None or not prices.in_use:
            return self.admission(*offer, deployment)

        async def plan_offer() -> Offer[TicketT] | None:
            factor = await prices.factor_of(caller_key(offer.ask))
            if factor == MILLION:
                return None
            return offer_of(await prices.multiplied(deployment, factor), offer.ask)

        return self.admission(*offer, deployment, plan_offer)

    def repriced(self, ask: Ask, deployment: Deployment, ceiling: Ceiling) -> Ask:
        """The same request to admission at another price."""
        return msgspec.structs.replace(
            ask,
            price_id=self.price_ids[model_key(deployment, deployment.price)],
            most_nusd=ceiling.most_nusd,
            least_nusd=ceiling.least_nusd,
        )

    def wire(self, ask: Ask, limits: WireLimits) -> TicketWire:
        """The wire for one call."""
        wire = TicketWire(self.transport, limits, ask.request_id)
        wire.trace = ask.facts.trace
        return wire

    def model_ask(
        self,
        caller: Caller,
        operation: str,
        deployment: Deployment | None,
        requested_provider: str,
        ceiling: Ceiling | None = None,
        *,
        role: Rank = "viewer",
        user: str | None = None,
    ) -> Ask:
        """The request to admission for a call of a model, at the deployment's price, or of none. Raises as `ask`."""
        provider, model = ("", "") if deployment is None else (deployment.provider, deployment.model)
        return self.ask(
            caller,
            operation,
            provider=provider,
            requested_provider=requested_provider,
            model=model,
            price_id=0 if deployment is None else self.price_ids.get(model_key(deployment, deployment.price), 0),
            most_nusd=0 if ceiling is None else ceiling.most_nusd,
            least_nusd=0 if ceiling is None else ceiling.least_nusd,
            most_tokens=0 if ceiling is None else ceiling.most_tokens,
            least_tokens=0 if ceiling is None else ceiling.least_tokens,
            names="" if deployment is None else deployment.limit_names,
            role=role,
            user=user,
        )

    def ask(
        self,
        caller: Caller,
        operation: str,
        *,
        provider: str,
        requested_provider: str,
        model: str,
        price_id: int,
        most_nusd: int,
        least_nusd: int,
        most_tokens: int = 0,
        least_tokens: int = 0,
        names: str = "",
        role: Rank = "viewer",
        book: str = "ai",
        user: str | None = None,
    ) -> Ask:
        """The request to admission for one call; `user` is the request's. Raises as `InFlightCalls.require_room`."""
        facts, ticket = caller.facts, new_ticket()
        facts.provider, facts.model, facts.ticket = provider or None, model or None, ticket
        self.calls.require_room(caller.key_hash or caller.key_id)
        return Ask(
            ticket=ticket,
            key_hash=caller.key_hash,
            legacy_hash=caller.legacy_hash,
            key_id=caller.key_id,
            install_id=caller.install_id,
            agent=caller.agent,
            role_rank=RANKS.index(role),
            operation=operation,
            provider=provider,
            requested_provider=requested_provider,
            model=model,
            book=book,
            price_id=price_id,
            most_nusd=most_nusd,
            least_nusd=least_nusd,
            request_id=caller.request_id,
            app_id=caller.app_id,
            build_id=caller.build_id,
            end_user=end_user_tag(user),
            most_tokens=most_tokens,
            least_tokens=least_tokens,
            names=names,
            facts=facts,
        )

    async def stop(self) -> None:
        """Cancel what is still in flight and await every settlement. Nothing is admitted any more."""
        await self.calls.cancel()
        await self.ledger.drained()
        await self.cache.drained()
