"""kaixu.yaml → catalog: load what it names, run the hooks once, check options, open lanes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

import pluggy
from pydantic import ValidationError

from kaixu.config.document import Document, LaneSection, note
from kaixu.config.mistakes import ConfigError
from kaixu.plugin import hookspecs
from kaixu.plugin.errors import PluginError
from kaixu.plugin.lane import Lane, Options
from kaixu.plugin.operation import Integration

from .catalog import Catalog, Deployment, LaneState, PluginState
from .find import Found, find, load


class LaneKind(NamedTuple):
    """A lane that a plugin can open."""

    lane: type[Lane]
    options: type[Options]


class Plugin(NamedTuple):
    """A loaded plugin and what it registered."""

    found: Found
    lanes: dict[str, LaneKind]
    integrations: list[Integration]


class Loader:
    """Loads each plugin once and collects what its hooks register."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manager = pluggy.PluginManager("kaixu")
        self.manager.add_hookspecs(hookspecs)
        self.loaded: dict[str, Plugin] = {}
        self.failed: dict[str, PluginState] = {}
        self.lane_owners: dict[str, str] = {}
        self.integration_owners: dict[str, str] = {}

    def plugin(self, name: str, kind: Literal["lane", "integration", "observer"]) -> Plugin:
        """The plugin `name`, loaded and its hooks run. Raises `PluginError`, and notes it for the operator."""
        if name in self.failed:
            raise PluginError(self.failed[name].reason or "failed")
        if name not in self.loaded:
            try:
                found = find(name, self.folder)
            except PluginError as error:
                self.failed[name] = PluginState(name, kind, "?", "?", None, "failed", str(error))
                raise
            try:
                self.loaded[name] = self.register(found)
            except PluginError as error:
                self.failed[name] = PluginState(name, kind, found.source, found.where, found.version, "failed", str(error))
                raise
        return self.loaded[name]

    def register(self, found: Found) -> Plugin:
        """Import, check the hooks' names, run the two that declare."""
        module = load(found)
        plugin = Plugin(found, {}, [])

        def register_lane(name: str, lane: type[Lane], options: type[Options]) -> None:
            owner = self.lane_owners.setdefault(name, found.where)
            if owner != found.where:
                raise PluginError(f"lane `{name}` is registered by {owner} and by {found.where}")
            plugin.lanes[name] = LaneKind(lane, options)

        def register_integration(integration: Integration) -> None:
            owner = self.integration_owners.setdefault(integration.name, found.where)
            if owner != found.where:
                raise PluginError(f"integration `{integration.name}` is registered by {owner} and by {found.where}")
            plugin.integrations.append(integration)

        try:
            self.manager.register(module, name=found.where)
            self.manager.check_pending()
            alone = self.manager.subset_hook_caller
            others = [other for other in self.manager.get_plugins() if other is not module]
            alone("register_lanes", remove_plugins=others)(register=register_lane)
            alone("register_integrations", remove_plugins=others)(register=register_integration)
        except PluginError:
            self.manager.unregister(module)
            raise
        except pluggy.PluginValidationError as error:
            self.manager.unregister(module)
            raise PluginError(f"plugin `{found.name}` ({found.where}): {error}") from None
        except Exception as error:
            # A stranger's hook can raise anything.
            self.manager.unregister(module)
            raise PluginError(f"plugin `{found.name}` ({found.where}) cannot register: {type(error).__name__}: {error}") from error
        return plugin


def build(document: Document, folder: Path) -> Catalog:
    """Open everything that `document` switches on; `folder` is where kaixu.yaml lies.

    A plugin that fails is listed with its reason and what depends on it answers
    503. Raises `ConfigError` for options that a plugin does not take, and
    `PluginError` where the failed section is marked `required: true`.
    """
    loader = Loader(folder)
    catalog = Catalog()
    states: dict[str, PluginState] = {}
    for lane_name, section in document.lanes.items():
        state = open_lane(lane_name, section, document, loader, states)
        if state.state == "failed" and section.required:
            raise PluginError(f"lane `{lane_name}` is required and failed: {state.reason}")
        add_lane(catalog, state)
    for name in document.plugins:
        try:
            found = loader.plugin(name, "observer").found
            states[name] = PluginState(name, "observer", found.source, found.where, found.version, "on", None)
        except PluginError:
            pass  # noted by the loader
    for name, integration_section in document.integrations.items():
        try:
            plugin = loader.plugin(integration_section.plugin or name, "integration")
            integration = next(one for one in plugin.integrations if one.name == name)
            catalog.integrations[name] = integration
            found = plugin.found
            states[name] = PluginState(name, "integration", found.source, found.where, found.version, "on", None)
        except (PluginError, StopIteration) as error:
            if integration_section.required:
                raise PluginError(f"integration `{name}` is required and failed: {error}") from error
            states.setdefault(name, loader.failed.get(name) or PluginState(name, "integration", "?", "?", None, "failed", f"there is no integration `{name}`"))
    if document.reading.mistakes:
        raise ConfigError(document.reading.mistakes)
    catalog.plugins = sorted((states | loader.failed).values(), key=lambda state: (state.kind, state.name))
    catalog.observe = lambda event: loader.manager.hook.on_event(event=event)
    return catalog


def open_lane(
    name: str, section: LaneSection, document: Document, loader: Loader, states: dict[str, PluginState]
) -> LaneState:
    """One section of `lanes:`: its plugin loaded, its options checked, the lane opened."""
    try:
        plugin = loader.plugin(section.plugin, "lane")
        kind = kind_of(plugin, section.plugin)
    except PluginError as error:
        return LaneState(name, section, "failed", str(error), None)
    found = plugin.found

    def state(word: Literal["on", "off", "failed"], reason: str | None, lane: Lane | None) -> LaneState:
        before = states.get(section.plugin)
        if before is None or before.state != "on":
            states[section.plugin] = PluginState(section.plugin, "lane", found.source, found.where, found.version, word, reason)
        return LaneState(name, section, word, reason, lane)

    try:
        options = kind.options.model_validate(section.options)
    except ValidationError as error:
        if section.off is None or any(detail["type"] == "extra_forbidden" for detail in error.errors()):
            note(document.reading, error, known_fields(kind.options), ("lanes", name))
        return state("off" if section.off else "failed", section.off or "its options are wrong", None)
    if section.off is not None:
        return state("off", section.off, None)
    try:
        return state("on", None, kind.lane(options))  # type: ignore[call-arg]
    except PluginError as error:
        return state("failed", str(error), None)
    except Exception as error:
        # A stranger's constructor can raise anything.
        return state("failed", f"{type(error).__name__}: {error}", None)


def known_fields(options: type[Options]) -> type[Options]:
    """The fields that may stand in a lane's section: the core's and the plugin's; for "did you mean"."""

    class Known(options):  # type: ignore[misc,valid-type]
        pass

    fields = dict(LaneSection.model_fields) | dict(options.model_fields)
    Known.__pydantic_fields__ = fields
    return Known


def kind_of(plugin: Plugin, name: str) -> LaneKind:
    """The lane that `plugin: name` means: the one of that name, or the only one of a file. Raises `PluginError`."""
    wanted = plugin.found.wanted or name
    if wanted in plugin.lanes:
        return plugin.lanes[wanted]
    if plugin.found.file is not None and len(plugin.lanes) == 1 and plugin.found.wanted is None:
        return next(iter(plugin.lanes.values()))
    have = ", ".join(f"`{one}`" for one in plugin.lanes) or "none"
    raise PluginError(f"{plugin.found.where} registers no lane `{wanted}` (it has {have})")


def add_lane(catalog: Catalog, state: LaneState) -> None:
    """Put a lane and its models under every name that clients may send."""
    section = state.section
    catalog.lanes[state.name] = state
    for name in (state.name, *section.aliases):
        catalog.providers[name] = catalog.providers[name.lower()] = state.name
    models = catalog.models[state.name] = {}
    for name, model in section.models.items():
        deployment = Deployment(
            provider=state.name,
            model=name,
            kind=model.type,
            upstream=model.upstream or name,
            lane=state.lane,
            state=state,
            price=None if model.price is None else model.price.price(),
            cost=None if model.cost is None else model.cost.price(),
            max_output_tokens=model.max_output_tokens,
            image_tokens=model.image_tokens,
            dimensions=model.dimensions,
            on_disconnect=section.on_disconnect,
            timeouts=section.timeouts,
            retries=section.retries,
        )
        for public in (name, *model.aliases):
            models[public] = deployment
