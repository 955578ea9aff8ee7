"""The catalog: public model → deployment, and the state of every plugin and lane. Frozen after it is built."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from kaixu.config.document import LaneSection, TimeoutSection
from kaixu.config.mistakes import did_you_mean
from kaixu.config.price import Price
from kaixu.plugin.errors import LaneOff, PluginFailed, UnknownModel
from kaixu.plugin.hookspecs import Event
from kaixu.plugin.lane import Lane
from kaixu.plugin.operation import Integration

log = logging.getLogger(__name__)
State = Literal["on", "off", "failed"]


@dataclass(frozen=True)
class PluginState:
    """A plugin as the operator sees it."""

    name: str
    kind: str
    source: str
    where: str
    version: str | None
    state: State
    reason: str | None


@dataclass
class LaneState:
    """One section of `lanes:`, opened or not."""

    name: str
    section: LaneSection
    state: State
    reason: str | None
    lane: Lane | None


class Deployment(msgspec.Struct, frozen=True, eq=False):
    """One public model and what stands behind it. `provider` and `model` are the names that customers see."""

    provider: str
    model: str
    kind: Literal["chat", "embed"]
    upstream: str
    lane: Lane | None
    state: LaneState
    price: Price | None
    cost: Price | None
    max_output_tokens: int
    image_tokens: int | None
    dimensions: int | None
    on_disconnect: Literal["cancel", "drain"]
    timeouts: TimeoutSection
    retries: int


@dataclass
class Catalog:
    """Everything that kaixu.yaml switched on."""

    lanes: dict[str, LaneState] = field(default_factory=dict)
    providers: dict[str, str] = field(default_factory=dict)  # lower-case name or alias → lane
    models: dict[str, dict[str, Deployment]] = field(default_factory=dict)  # lane → model or alias → deployment
    plugins: list[PluginState] = field(default_factory=list)
    integrations: dict[str, Integration] = field(default_factory=dict)
    observe: Callable[[Event], None] | None = None

    @property
    def deployments(self) -> list[Deployment]:
        """Every deployment once."""
        return list({id(one): one for models in self.models.values() for one in models.values()}.values())

    def resolve(self, provider: str, model: str, kind: Literal["chat", "embed"]) -> Deployment:
        """What `provider` and `model` mean. Raises `UnknownModel` with the nearest names."""
        lane = self.providers.get(provider) or self.providers.get(provider.lower())
        if lane is None:
            raise UnknownModel(
                f"unknown provider `{provider[:80]}`{did_you_mean(provider[:80], self.lanes)}",
                hint=f"Providers here: {named(self.lanes)}.",
            )
        deployment = self.models[lane].get(model)
        if deployment is None or deployment.kind != kind:
            known = [name for name, one in self.models[lane].items() if one.kind == kind]
            raise UnknownModel(
                f"unknown {kind} model `{model[:80]}` of provider `{lane}`{did_you_mean(model[:80], known)}",
                hint=f"Its {kind} models: {named(known)}.",
            )
        return deployment

    @staticmethod
    def ready(deployment: Deployment) -> Lane:
        """The lane behind a deployment. Raises `LaneOff` or `PluginFailed`."""
        state = deployment.state
        if state.state == "on" and deployment.lane is not None:
            return deployment.lane
        if state.state == "off":
            raise LaneOff(f"lane `{state.name}` is off: {state.reason}", hint="Tell your operator.")
        raise PluginFailed(f"lane `{state.name}` is not available: its plugin failed", hint="Tell your operator.")

    async def start(self) -> None:
        """Start every lane; one that fails is marked and the others go on."""
        for state in self.lanes.values():
            if state.lane is not None:
                try:
                    await state.lane.start()
                except Exception as error:
                    # A plugin can raise anything; what depends on it answers 503.
                    log.exception("lane %s did not start", state.name)
                    state.state, state.reason = "failed", f"{type(error).__name__}: {error}"

    async def aclose(self) -> None:
        """Close every lane, whatever one of them raises."""
        for state in self.lanes.values():
            if state.lane is not None:
                try:
                    await state.lane.aclose()
                except Exception:
                    log.exception("lane %s did not close cleanly", state.name)


def named(names: Sequence[str] | dict[str, LaneState]) -> str:
    """At most ten names, readable."""
    shown = [f"`{name}`" for name in list(names)[:10]]
    return ", ".join(shown) + (" …" if len(names) > 10 else "") if shown else "none"
