"""Adds the models of all lanes to the catalog, with their names, aliases and deployments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import msgspec

from kaixu.config.mistakes import did_you_mean
from kaixu.config.price import Price
from kaixu.config.read import Path_
from kaixu.config.sections import DeploymentSection, ModelSection, PriceSection
from kaixu.plugin.lane import Lane

from .catalog import FREE, Catalog, Deployment, LaneState

#: Adds a mistake at a path of kaixu.yaml.
AddMistake = Callable[[Path_, str], object]

#: Added to the priority of fallbacks: they come after all deployments of the model.
AFTER_ALL = 10_000


def add_lane(catalog: Catalog, state: LaneState, public_name: str | None = None) -> None:
    """Add a lane under every name that clients may send. `public_name`: for lanes without their own."""
    catalog.lanes[state.name] = state
    state.public_name = state.section.public_name or public_name or state.name
    for name in (state.name, *state.section.aliases, state.public_name):
        lanes = catalog.providers.setdefault(name.lower(), [])
        if state.name not in lanes:
            # A lane's own name comes before other lanes' aliases.
            lanes.insert(0 if name == state.name else len(lanes), state.name)


def add_models(catalog: Catalog, add_mistake: AddMistake) -> None:
    """Add the models of all lanes; `add_mistake` is called for invalid deployments."""
    serving = Serving(catalog, add_mistake)
    for owner in catalog.lanes.values():
        models = catalog.models[owner.name] = {}
        for name, model in owner.section.models.items():
            deployment = serving.model(owner, name, model)
            for public in (name, *model.aliases):
                models[public] = deployment


class Serving:
    """Creates the deployments of each model."""

    def __init__(self, catalog: Catalog, add_mistake: AddMistake) -> None:
        self.catalog = catalog
        self.add_mistake = add_mistake

    def model(self, owner: LaneState, name: str, model: ModelSection) -> Deployment:
        """A model with all its deployments, in the order of their priority."""
        path: Path_ = ("lanes", owner.name, "models", name)
        choices = self.own(path, owner, name, model)
        for at, reference in enumerate(model.fallback):
            choices += self.fallback((*path, "fallback", at), owner, name, model, reference)
        if not choices:  # the mistakes are recorded; the model stays known
            choices = [self.deployment(owner, name, model, DeploymentSection())]
        count = Counter(one.name for one in choices)
        seen: Counter[str] = Counter()
        for index, one in enumerate(choices):
            seen[one.name] += 1
            if count[one.name] > 1:
                choices[index] = msgspec.structs.replace(one, name=f"{one.name}-{seen[one.name]}")
        first, *others = sorted(choices, key=lambda one: one.priority)
        return msgspec.structs.replace(first, others=tuple(others))

    def own(self, path: Path_, owner: LaneState, name: str, model: ModelSection) -> list[Deployment]:
        """The deployments in `deployments`, or the lane itself."""
        if not model.deployments:
            return [self.deployment(owner, name, model, DeploymentSection())]
        choices = []
        names: set[str] = set()
        for at, section in enumerate(model.deployments):
            where: Path_ = (*path, "deployments", at)
            if section.name is not None and section.name in names:
                self.add_mistake((*where, "name"), f"`{section.name}` already means another deployment")
                continue
            names |= {section.name} if section.name is not None else set()
            state = self.lane(where, section.lane or owner.name, model)
            if state is not None:
                choices.append(self.deployment(owner, name, model, section))
        return choices

    def lane(self, path: Path_, name: str, model: ModelSection) -> LaneState | None:
        """The lane of a deployment; None, with a mistake, if no lane can serve it."""
        state = self.catalog.lanes.get(name)
        if state is None:
            meant = did_you_mean(name, self.catalog.lanes)
            self.add_mistake((*path, "lane"), f"no such lane: `{name[:80]}`{meant}")
        elif state.lane is not None and getattr(type(state.lane), model.type) is getattr(Lane, model.type):
            self.add_mistake((*path, "lane"), f"lane `{name}` has no {model.type} models")
            return None
        return state

    def fallback(
        self, path: Path_, owner: LaneState, name: str, model: ModelSection, reference: str
    ) -> list[Deployment]:
        """The deployments of another lane's model as deployments of this one, after all others."""
        lane_name, slash, other_name = reference.partition("/")
        state = self.catalog.lanes.get(lane_name)
        if not slash or state is None:
            known = [f"{lane}/{one}" for lane, state in self.catalog.lanes.items() for one in state.section.models]
            self.add_mistake(path, f"no such model: `{reference[:200]}`{did_you_mean(reference[:200], known)}")
            return []
        other = state.section.models.get(other_name)
        if other is None:
            self.add_mistake(path, f"lane `{lane_name}` has no model `{other_name[:80]}`")
            return []
        if other.type != model.type:
            self.add_mistake(path, f"model `{reference}` is for {other.type}, not for {model.type}")
            return []
        if model.type == "embed" and other.dimensions != model.dimensions:
            self.add_mistake(path, f"model `{reference}` makes vectors of another length")
            return []
        if (state.name, other_name) == (owner.name, name):
            self.add_mistake(path, f"model `{reference}` cannot stand in for itself")
            return []
        sections = other.deployments or [DeploymentSection()]
        return [
            self.deployment(
                owner,
                name,
                model,
                section.model_copy(
                    update={
                        "lane": section.lane or lane_name,
                        "upstream": section.upstream or other.upstream or other_name,
                        "priority": section.priority + AFTER_ALL,
                        "cost": section.cost or other.cost,
                    }
                ),
            )
            for section in sections
            if (section.lane or lane_name) in self.catalog.lanes
        ]

    def deployment(self, owner: LaneState, name: str, model: ModelSection, section: DeploymentSection) -> Deployment:
        """One deployment: limits and price are the model's, times and tries are those of the lane that serves."""
        state = self.catalog.lanes.get(section.lane or owner.name, owner)
        return Deployment(
            provider=owner.name,
            public_provider=owner.public_name,
            model=name,
            kind=model.type,
            upstream=section.upstream or model.upstream or name,
            lane=state.lane,
            state=state,
            price=price_of(model.price),
            cost=price_of(section.cost or model.cost),
            max_output_tokens=model.max_output_tokens,
            default_output_tokens=min(model.default_output_tokens, model.max_output_tokens),
            image_tokens=model.most_image_tokens,
            dimensions=model.dimensions,
            fixed_dimensions=model.fixed_dimensions,
            on_disconnect=owner.section.on_disconnect,
            plain_answers=state.section.plain_answers,
            timeouts=state.section.timeouts,
            retries=state.section.retries,
            owner=owner,
            name=section.name or state.name,
            weight=section.weight,
            priority=section.priority,
            breaker=state.section.breaker,
            preamble=owner.section.preamble,
            cache=model.cache,
            cached_price=price_of(model.cached_price) or FREE,
            batch_factor=owner.section.batch_price_factor,
            unknown_fields=state.section.unknown_fields,
            known_fields=frozenset(state.section.known_fields),
            allow=frozenset(model.allow),
            reasoning=model.reasoning,
            tokens_per_s=model.tokens_per_s,
            limit_names=limit_names(owner, name, model),
        )


def limit_names(owner: LaneState, name: str, model: ModelSection) -> str:
    """Every name of a model, "provider/model", a line each: a limit under one of them holds for all."""
    lanes = dict.fromkeys(one.lower() for one in (owner.name, *owner.section.aliases, owner.public_name))
    return "\n".join(f"{lane}/{one}" for lane in lanes for one in dict.fromkeys((name, *model.aliases)))


def price_of(section: PriceSection | None) -> Price | None:
    """The rates in nano-dollars per million tokens."""
    return None if section is None else section.price()
