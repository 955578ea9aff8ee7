"""The catalog: the deployments of public models, and the state of every plugin. After the build only states change."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from decimal import ROUND_CEILING, Decimal
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from kaixu.config.mistakes import ConfigError, Mistake, did_you_mean
from kaixu.config.plans_section import MILLION
from kaixu.config.price import Price, rate_nusd
from kaixu.config.sections import BreakerSection, CacheSection, IntegrationSection, LaneSection, TimeoutSection
from kaixu.plugin.errors import LaneOff, PluginError, PluginFailed, UnknownModel
from kaixu.plugin.hookspecs import Event
from kaixu.plugin.lane import Lane
from kaixu.plugin.money import Grant
from kaixu.plugin.operation import Charge, Free, Integration, Job, KeyedCharge, Operation, PerUnit, Schedule
from kaixu.plugin.options import Options
from kaixu.plugin.origins import Hosts

log = logging.getLogger(__name__)
State = Literal["on", "off", "failed"]
FREE = Price(0, 0, 0, 0, 0)

#: How long an integration may take to open, and to close.
OPEN_S = 30.0


@dataclass(frozen=True)
class PluginState:
    """A plugin as operators see it; `kind` is "?" if nothing names it, so that it was not imported."""

    name: str
    kind: Literal["lane", "integration", "observer", "?"]
    source: Literal["built-in", "package", "file"]
    where: str
    version: str | None
    state: State
    reason: str | None


@dataclass
class LaneState:
    """One section of `lanes:` and its lane, if it is open."""

    name: str
    section: LaneSection
    state: State
    reason: str | None
    lane: Lane | None
    public_name: str = ""  # the provider name in replies


@dataclass(frozen=True)
class IntegrationState:
    """One section of `integrations:`; `prices_nusd` has its prices by name."""

    name: str
    section: IntegrationSection
    state: State
    reason: str | None
    integration: Integration | None
    options: Options | None
    prices_nusd: dict[str, int]
    schema: Path | None = None  # the folder of its migrations
    where: str = ""  # the location of its plugin
    handlers: list[None] = field(default_factory=list, compare=False)  # an element for each that runs

    @property
    def grants(self) -> frozenset[Grant]:
        """What it may do beyond its own tables: what it asks for, for otherwise it is off."""
        return frozenset(() if self.integration is None else self.integration.grants)

    @cached_property
    def hosts(self) -> Hosts:
        """Where its wire may send."""
        if self.integration is None:
            return Hosts((), self.options)
        try:
            return Hosts(self.integration.hosts, self.options, self.name)
        except PluginError:  # it is off for that reason
            return Hosts((), self.options)

    @property
    def rates(self) -> dict[str, dict[str, int]]:
        """The price of every operation and job by name, in the form that is stored as a price version."""
        declared = self.integration
        if declared is None or self.state != "on":
            return {}
        priced: list[Operation | Job] = [*declared.operations, *declared.jobs]
        return {one.name: rates_of(one.charge, self.prices_nusd) for one in priced}

    @property
    def price_lists(self) -> dict[str, dict[str, int]]:
        """The prices by version of the price list, in nano-dollars; "default" is the section's `price`."""
        versions = {
            version: {name: rate_nusd(dollars) for name, dollars in prices.items()}
            for version, prices in self.section.price_versions.items()
        }
        return {"default": self.prices_nusd, **versions}


class PluginObserver(NamedTuple):
    """A plugin's `on_event`."""

    where: str
    observe: Callable[[Event], None]


class Deployment(msgspec.Struct, frozen=True, eq=False):
    """One place that serves a public model. `provider` and `model` are the names that customers see.

    `state` belongs to the lane that serves it, `owner` to the lane that offers it; they differ if a model is deployed
    on another lane. A model with several deployments is its first one, with the others in `others`.
    """

    provider: str
    model: str
    kind: Literal["chat", "embed"]
    upstream: str
    lane: Lane | None
    state: LaneState
    price: Price | None
    cost: Price | None
    max_output_tokens: int
    default_output_tokens: int
    image_tokens: int | None
    dimensions: int | None
    fixed_dimensions: bool
    on_disconnect: Literal["cancel", "drain"] | None
    timeouts: TimeoutSection
    retries: int
    owner: LaneState | None = None  # None: the lane that serves it
    name: str = ""  # its name in replies and usage events
    weight: int = 1
    priority: int = 0
    breaker: BreakerSection = BreakerSection()
    preamble: str | None = None
    cache: CacheSection | None = None
    cached_price: Price = FREE
    batch_factor: Decimal = Decimal(1)
    unknown_fields: Literal["drop", "refuse", "pass"] = "drop"
    known_fields: frozenset[str] = frozenset()
    allow: frozenset[str] = frozenset()
    reasoning: bool | None = None
    tokens_per_s: int = 200
    plain_answers: bool = True
    public_provider: str = ""  # the provider name in replies; "": `provider`
    limit_names: str = ""  # "provider/model" in every name that clients may use, a line each; providers in lower case
    factor_millionths: int = MILLION  # of the plan that its prices are multiplied by
    others: tuple[Deployment, ...] = ()

    @property
    def prices(self) -> dict[str, Price]:
        """All prices of the model.

        "": the usual price; "batch": for calls in a batch; "cached": for answers from the cache.
        """
        if self.price is None:
            return {}
        prices = {"": self.price, "batch": multiplied(self.price, self.batch_factor)}
        return prices | ({} if self.cache is None else {"cached": self.cached_price})

    def priced(self, which: str) -> Deployment:
        """The same deployment with another of its prices."""
        if not which or self.price is None:
            return self
        price = self.prices[which]
        others = tuple(msgspec.structs.replace(one, price=price) for one in self.others)
        return msgspec.structs.replace(self, price=price, others=others)

    def times(self, factor_millionths: int) -> Deployment:
        """The same deployment with its price, and that of cached answers, times a plan's factor."""
        if self.price is None:
            return self
        factor = Decimal(factor_millionths) / MILLION
        price, cached = multiplied(self.price, factor), multiplied(self.cached_price, factor)
        replace = msgspec.structs.replace
        others = tuple(replace(one, price=price, cached_price=cached) for one in self.others)
        return replace(self, price=price, cached_price=cached, others=others, factor_millionths=factor_millionths)

    @property
    def shown_provider(self) -> str:
        """The provider name in replies; everything else uses `provider`."""
        return self.public_provider or self.provider

    @property
    def choices(self) -> tuple[Deployment, ...]:
        """All deployments of the model."""
        return (self, *self.others)

    @property
    def ready(self) -> tuple[Deployment, ...]:
        """The deployments whose lanes are on."""
        if not self.others:
            return (self,) if self.is_on else ()
        return tuple(one for one in self.choices if one.is_on)

    @property
    def is_on(self) -> bool:
        """Whether its lane is on."""
        return self.lane is not None and self.state.state == "on"

    @property
    def native(self) -> str | None:
        """The protocol that all lanes of the model speak, or None: only then a request can be passed through."""
        if not self.others:
            return None if self.lane is None else self.lane.native
        protocols = {one.lane.native for one in self.ready or self.choices if one.lane is not None}
        return protocols.pop() if len(protocols) == 1 else None


class RequestedModel(NamedTuple):
    """A deployment, and the provider name in the request."""

    deployment: Deployment
    provider: str


@dataclass
class Catalog:
    """Everything that kaixu.yaml switches on, and the mistakes in the rest."""

    lanes: dict[str, LaneState] = field(default_factory=dict)
    #: Lanes by name and alias in lower case; several lanes may share an alias.
    providers: dict[str, list[str]] = field(default_factory=dict)
    #: Deployments by lane, then by model name and alias.
    models: dict[str, dict[str, Deployment]] = field(default_factory=dict)
    integrations: dict[str, IntegrationState] = field(default_factory=dict)
    #: From integrations that are on, by name.
    operations: dict[str, tuple[IntegrationState, Operation]] = field(default_factory=dict)
    jobs: dict[str, tuple[IntegrationState, Job]] = field(default_factory=dict)
    schedules: dict[str, tuple[IntegrationState, Schedule]] = field(default_factory=dict)
    observers: list[PluginObserver] = field(default_factory=list)
    plugins: list[PluginState] = field(default_factory=list)
    #: Integrations that were opened, by name.
    opened: list[str] = field(default_factory=list)
    #: Mistakes that plugins found in kaixu.yaml; their lanes have failed, the others serve.
    mistakes: list[Mistake] = field(default_factory=list)
    #: Notes on kaixu.yaml: not mistakes, but worth a look.
    notes: list[str] = field(default_factory=list)

    @property
    def deployments(self) -> list[Deployment]:
        """All deployments, without duplicates."""
        return list({id(one): one for models in self.models.values() for one in models.values()}.values())

    @property
    def declared(self) -> list[Integration]:
        """The integrations that are on, as their plugins declare them."""
        states = self.integrations.values()
        return [one.integration for one in states if one.state == "on" and one.integration is not None]

    def resolve(self, provider: str | None, model: str, kind: Literal["chat", "embed"]) -> RequestedModel:
        """Find the deployment for `provider` and `model`. Providers ignore case, models are exact.

        Without a provider, `model` must be unique among all lanes, or "provider/model". Lanes that are off are found,
        too: see `ready`. Raises `UnknownModel` with similar names.
        """
        if provider is None:
            offering = [lane for lane, models in self.models.items() if is_kind(models.get(model), kind)]
            if len(offering) == 1:
                return RequestedModel(self.models[offering[0]][model], offering[0])
            if offering:
                raise UnknownModel(
                    f"model `{model}` is offered by {len(offering)} providers",
                    hint=f"Use one of these names: {quoted_list(f'{lane}/{model}' for lane in offering)}.",
                    field="model",
                )
            provider, slash, rest = model.partition("/")
            if not slash:
                known = [name for models in self.models.values() for name, one in models.items() if one.kind == kind]
                raise UnknownModel(
                    f"unknown model `{model[:80]}`{did_you_mean(model[:80], known)}",
                    hint=f"The {kind} models here: {quoted_list(known)}.",
                    field="model",
                )
            model = rest
        lanes = self.providers.get(provider.lower(), [])
        if not lanes:
            raise UnknownModel(
                f"unknown provider `{provider[:80]}`{did_you_mean(provider[:80], self.lanes)}",
                hint=f"Providers here: {quoted_list(self.lanes)}.",
                field="provider",
            )
        for lane in lanes:
            deployment = self.models[lane].get(model)
            if deployment is not None and deployment.kind == kind:
                return RequestedModel(deployment, self.written_name(provider) or deployment.provider)
        known = [name for lane in lanes for name, one in self.models[lane].items() if one.kind == kind]
        hint = f"Its {kind} models: {quoted_list(known)}."
        other = next((one for lane in lanes if (one := self.models[lane].get(model)) is not None), None)
        if other is not None:
            raise UnknownModel(
                f"model `{model}` of provider `{lanes[0]}` is for {other.kind}, not for {kind}",
                hint=hint,
                field="model",
            )
        raise UnknownModel(
            f"unknown model `{model[:80]}` of provider `{lanes[0]}`{did_you_mean(model[:80], known)}",
            hint=hint,
            field="model",
        )

    def written_name(self, provider: str) -> str | None:
        """A lane's name or alias as kaixu.yaml writes it; None for a public name."""
        for lane in self.lanes.values():
            for name in (lane.name, *lane.section.aliases):
                if name.lower() == provider.lower():
                    return name
        return None

    def shown(self, provider: str | None) -> str | None:
        """The name of a lane in replies."""
        lane = self.lanes.get(provider or "")
        return provider if lane is None else lane.public_name or lane.name

    @staticmethod
    def ready(deployment: Deployment) -> Lane:
        """The first lane of a model that is on. Raises `LaneOff` or `PluginFailed`."""
        for one in deployment.choices:
            if one.is_on:
                assert one.lane is not None
                return one.lane
        state = deployment.state
        if state.state == "off":
            raise LaneOff(f"lane `{state.name}` is off: {state.reason}", hint="Tell your operator.")
        # The reason may contain paths and versions: only operators see it, in the log and in `kaixu plugins`.
        raise PluginFailed(f"lane `{state.name}` is not available: its plugin failed", hint="Tell your operator.")

    def observe(self, event: Event) -> None:
        """Call every observer. Exceptions are logged with the plugin's name, never raised."""
        for observer in self.observers:
            try:
                observer.observe(event)
            except Exception:  # third-party code can raise anything; the event has happened anyway
                log.exception("plugin %s failed to observe %s", observer.where, event.kind)

    def fail(self, name: str, reason: str) -> None:
        """Mark an integration as failed and remove its operations, jobs and schedules."""
        self.integrations[name] = replace(self.integrations[name], state="failed", reason=reason)
        self.operations = {key: one for key, one in self.operations.items() if one[0].name != name}
        self.jobs = {key: one for key, one in self.jobs.items() if one[0].name != name}
        self.schedules = {key: one for key, one in self.schedules.items() if one[0].name != name}

    @property
    def in_use(self) -> bool:
        """Whether a handler of one of its integrations runs."""
        return any(state.handlers for state in self.integrations.values())

    async def open_integration(self, name: str, open_: Callable[[Any], Awaitable[None]], options: Any) -> None:
        """Switch an integration on. One that fails is marked."""
        patience = asyncio.timeout(OPEN_S)
        try:
            async with patience:
                await open_(options)
        except Exception as error:  # third-party code can raise anything
            log.exception("integration %s did not open", name)
            reason = str(error) if isinstance(error, PluginError) else f"it did not open: {type(error).__name__}"
            self.fail(name, f"it did not open within {OPEN_S:g} seconds" if patience.expired() else reason)
        else:
            self.opened.append(name)

    async def start(self) -> None:
        """Start every lane, open every integration. One that fails is marked, and the others continue.

        Raises `PluginError` at the end if one with `required: true` failed.
        """
        for integration in self.declared:
            if integration.open is None:
                self.opened.append(integration.name)
            else:
                await self.open_integration(
                    integration.name, integration.open, self.integrations[integration.name].options
                )
        for state in self.lanes.values():
            if state.lane is not None:
                try:
                    await state.lane.start()
                except Exception as error:  # third-party code can raise anything
                    log.exception("lane %s did not start", state.name)
                    state.state, state.reason = "failed", f"it did not start: {type(error).__name__}"
                    if isinstance(error, PluginError):
                        state.reason = str(error)
        self.require()

    def sections(self) -> Iterator[tuple[str, LaneState | IntegrationState]]:
        """All sections with their kind: "lane" or "integration"."""
        for lane in self.lanes.values():
            yield "lane", lane
        for integration in self.integrations.values():
            yield "integration", integration

    def require(self, *, strict: bool = False) -> None:
        """Raises `PluginError` with every section that has `required: true` and is not on.

        With `strict`, raises `ConfigError` first if plugins found mistakes in kaixu.yaml.
        """
        if strict and self.mistakes:
            raise ConfigError(self.mistakes)
        missing = [
            f"{kind} `{one.name}` is required and {one.state}: {one.reason}"
            for kind, one in self.sections()
            if one.section.required and one.state != "on"
        ]
        if missing:
            raise PluginError("\n".join(missing))

    def require_no_loss(self, before: Catalog) -> None:
        """Raises `PluginError` with everything that is on in `before` and failed here."""
        served = {(kind, one.name) for kind, one in before.sections() if one.state == "on"}
        lost = [
            f"{kind} `{one.name}` serves and would fail: {one.reason}"
            for kind, one in self.sections()
            if one.state == "failed" and (kind, one.name) in served
        ]
        loaded = {one.where for one in before.plugins if one.state == "on"}
        reported = "\n".join(lost)
        lost += [
            f"plugin `{one.name}` is loaded and would fail: {one.reason}"
            for one in self.plugins
            if one.state == "failed" and one.where in loaded and str(one.reason) not in reported
        ]
        if lost:
            raise PluginError("\n".join(lost))

    async def aclose(self) -> None:
        """Close every lane and every integration that was opened, even if closing one of them fails."""
        for name in self.opened:
            declared = self.integrations[name].integration
            if declared is not None and declared.close is not None:
                try:
                    async with asyncio.timeout(OPEN_S):
                        await declared.close()
                except Exception:  # third-party code can raise anything; the next one must close too
                    log.exception("integration %s did not close cleanly", name)
        for state in self.lanes.values():
            if state.lane is not None:
                try:
                    await state.lane.aclose()
                except Exception:  # third-party code can raise anything; the next lane must close too
                    log.exception("lane %s did not close cleanly", state.name)


def rates_of(charge: Charge | KeyedCharge, prices_nusd: dict[str, int]) -> dict[str, int]:
    """A charge's price, and the number of units that it is for.

    A price with the same name as that number, like `per_page` for each `page`, is stored as `price`.
    """
    if isinstance(charge, Free):
        return {}
    price_nusd = prices_nusd[charge.price]
    if not isinstance(charge, PerUnit):
        return {charge.price: price_nusd}
    per = f"per_{charge.unit}"
    return {"price" if charge.price == per else charge.price: price_nusd, per: charge.per}


def multiplied(price: Price, factor: Decimal) -> Price:
    """Every rate times `factor`, rounded up to the whole nano-dollar per million tokens."""
    return Price(*(int((rate * factor).to_integral_value(ROUND_CEILING)) for rate in msgspec.structs.astuple(price)))


def is_kind(deployment: Deployment | None, kind: str) -> bool:
    """Whether there is a deployment of this kind."""
    return deployment is not None and deployment.kind == kind


def quoted_list(names: Iterable[str]) -> str:
    """Up to ten names as text."""
    shown = [f"`{name}`" for name in names]
    return ", ".join(shown[:10]) + (" …" if len(shown) > 10 else "") if shown else "none"
