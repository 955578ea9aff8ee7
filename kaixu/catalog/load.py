"""Loading plugins: each once, its hooks checked and run, and what it registered."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Literal, NamedTuple

import pluggy

from kaixu.config.mistakes import did_you_mean
from kaixu.plugin import hookspecs
from kaixu.plugin.errors import PluginError
from kaixu.plugin.hookspecs import Event
from kaixu.plugin.lane import Lane, Options
from kaixu.plugin.operation import Integration, Job, Operation, PerUnit, Schedule

from .find import FoundPlugin, NoSuchPlugin, find, lane_in, path_in
from .importing import import_plugin

log = logging.getLogger(__name__)
#: What comes behind the integration's name; dots become slashes in its path.
WHAT = re.compile(r"[a-z0-9_]+([.-][a-z0-9_]+)*")
#: What lies below /v1 besides integrations.
RESERVED = frozenset({"chat", "messages", "responses", "embeddings", "completions", "models", "files", "batches"})
MOST_TIMEOUT_S = 24 * 3600
LEAST_PERIOD_S = 1
HOOKS = ("register_lanes", "register_integrations", "on_event")
Kind = Literal["lane", "integration", "observer"]


class LaneKind(NamedTuple):
    """A kind of lane that a plugin can open."""

    lane: type[Lane]
    options: type[Options]


class Plugin(NamedTuple):
    """A loaded plugin, under the name it was first asked for, and what it registered."""

    name: str
    found: FoundPlugin
    module: ModuleType
    lanes: dict[str, LaneKind]
    integrations: dict[str, Integration]

    @property
    def kind(self) -> Kind:
        """What it is for."""
        return "lane" if self.lanes else "integration" if self.integrations else "observer"


class Failure(NamedTuple):
    """A plugin that did not load, and what it was wanted for."""

    kind: Kind
    found: FoundPlugin | None
    error: PluginError


class Loader:
    """Loads the plugins of one kaixu.yaml; `folder` is where that lies."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manager = pluggy.PluginManager("kaixu")
        self.manager.add_hookspecs(hookspecs)
        self.loaded: dict[str, Plugin] = {}  # by where it is: two names may mean one plugin
        self.failed: dict[str, Failure] = {}  # by name

    def load(self, name: str, kind: Kind) -> Plugin:
        """The plugin `name`, loaded and its hooks run. Raises `PluginError`, for one name always the same."""
        if name in self.failed:
            raise self.failed[name].error
        found: FoundPlugin | None = None
        try:
            found = find(name, self.folder)
            place = str(found.file or found.where)
            if place not in self.loaded:
                self.loaded[place] = self.register(name, found, import_plugin(name, found))
        except PluginError as error:
            self.failed[name] = Failure(kind, found, error)
            raise
        return self.loaded[place]

    def lane(self, name: str) -> tuple[Plugin, LaneKind]:
        """What `plugin: name` means: the lane of that name, or a file's only one. Raises `PluginError`."""
        plugin = self.listed(name, lambda one: name in one.lanes) or self.load(name, "lane")
        wanted = lane_in(name) or name
        if wanted in plugin.lanes:
            return plugin, plugin.lanes[wanted]
        if plugin.found.file is not None and len(plugin.lanes) == 1 and lane_in(name) is None:
            return plugin, next(iter(plugin.lanes.values()))
        have = ", ".join(f"`{one}`" for one in plugin.lanes) or "none"
        hint = f"; write {path_in(name)}:NAME" if len(plugin.lanes) > 1 and lane_in(name) is None else ""
        raise NoSuchPlugin(f"plugin {plugin.found.where} has no lane `{wanted}`, it has {have}{hint}")

    def integration(self, name: str, plugin_name: str | None) -> tuple[Plugin, Integration]:
        """The integration that a section `name` switches on. Raises `PluginError`."""
        wanted = plugin_name or name
        plugin = self.listed(wanted, lambda one: name in one.integrations) or self.load(wanted, "integration")
        if name not in plugin.integrations:
            have = ", ".join(f"`{one}`" for one in plugin.integrations) or "none"
            raise NoSuchPlugin(f"plugin {plugin.found.where} has no integration `{name}`, it has {have}")
        return plugin, plugin.integrations[name]

    def folder_of(self, name: str) -> Path:
        """The folder of the module that registered integration `name`."""
        module = next(one.module for one in self.loaded.values() if name in one.integrations)
        assert module.__file__ is not None
        return Path(module.__file__).parent

    def listed(self, name: str, has: Callable[[Plugin], bool]) -> Plugin | None:
        """The plugin out of `plugins:` that brings what `name` asks for. Raises `NoSuchPlugin` if two do."""
        files = [one for one in self.loaded.values() if one.found.file is not None]
        brings = next(filter(has, files), None)
        if brings is None or path_in(name) is not None:
            return None
        try:
            other = find(name, self.folder)
        except NoSuchPlugin:
            return brings
        if other.file == brings.found.file:
            return brings
        raise NoSuchPlugin(f"plugin `{name}` could be {brings.found.where} or {other.where}; rename one")

    def register(self, name: str, found: FoundPlugin, module: ModuleType) -> Plugin:
        """Check the names and arguments of a module's hooks and run the two that declare.

        Raises `PluginError`; a plugin that fails half-way leaves nothing behind.
        """
        plugin = Plugin(name, found, module, {}, {})

        def register_lane(name: str, lane: type[Lane], options: type[Options]) -> None:
            self.refuse_taken("lane", name, plugin, lambda one: name in one.lanes)
            plugin.lanes[name] = LaneKind(lane, options)

        def register_integration(integration: Integration) -> None:
            name = integration.name
            self.refuse_taken("integration", name, plugin, lambda one: name in one.integrations)
            check_operations(integration)
            plugin.integrations[name] = integration

        try:
            self.manager.register(module, name=str(found.file or found.where))
            self.manager.check_pending()
            self.hook(module, "register_lanes")(register=register_lane)
            self.hook(module, "register_integrations")(register=register_integration)
        except Exception as error:  # a stranger's hook can raise anything
            pending = [hook for hook in vars(self.manager.hook) if hook[0] != "_" and hook not in HOOKS]
            if self.manager.is_registered(module):
                self.manager.unregister(module)
            for hook in pending:
                delattr(self.manager.hook, hook)  # the next plugin does not answer for this one's
            raise failure(name, found, error, pending) from error
        return plugin

    def refuse_taken(self, kind: str, name: str, plugin: Plugin, has: Callable[[Plugin], bool]) -> None:
        """Raises `PluginError` where `name` is registered already, naming both plugins."""
        for other in [*self.loaded.values(), plugin]:
            if has(other):
                raise PluginError(f"{kind} `{name}` is registered by {other.found.where} and by {plugin.found.where}")

    def hook(self, module: ModuleType, name: str) -> pluggy.HookCaller:
        """One plugin's hook `name`; calling it calls that plugin only."""
        others = [other for other in self.manager.get_plugins() if other is not module]
        return self.manager.subset_hook_caller(name, others)

    def observers(self) -> list[tuple[str, Callable[[Event], None]]]:
        """Every loaded plugin that observes, and how to tell it."""

        def telling(hook: pluggy.HookCaller) -> Callable[[Event], None]:
            return lambda event: hook(event=event) and None

        observing = {implementation.plugin for implementation in self.manager.hook.on_event.get_hookimpls()}
        return [
            (one.found.where, telling(self.hook(one.module, "on_event")))
            for one in self.loaded.values()
            if one.module in observing
        ]


def failure(name: str, found: FoundPlugin, error: Exception, pending: list[str]) -> PluginError:
    """What went wrong in a plugin's hooks, as one line that names it."""
    who = f"plugin `{name}` ({found.where})"
    if isinstance(error, PluginError):
        return PluginError(f"{who}: {error}")
    if isinstance(error, pluggy.PluginValidationError):
        if pending:
            return PluginError(f"{who}: there is no hook `{pending[0]}`{did_you_mean(pending[0], HOOKS)}")
        return PluginError(f"{who}: {str(error).splitlines()[-1]}")
    log.debug("%s cannot register", who, exc_info=error)
    return PluginError(f"{who} cannot register: {type(error).__name__}: {error}")


def check_operations(integration: Integration) -> None:
    """Operations are called `<integration>.<what>`, each once. Raises `PluginError`."""
    offered: list[Operation | Job | Schedule] = [*integration.operations, *integration.jobs, *integration.schedules]
    if integration.name in RESERVED:
        raise PluginError(f"an integration cannot be called `{integration.name}`: the gateway has that path itself")
    names = [one.name for one in offered]
    for at, one in enumerate(offered):
        kind, name = type(one).__name__.lower(), one.name
        if not WHAT.fullmatch(name.removeprefix(f"{integration.name}.")) or not name.startswith(f"{integration.name}."):
            raise PluginError(f"{kind} `{name}` must be called `{integration.name}.<what>`")
        if name in names[:at]:
            raise PluginError(f"{kind} `{name}` is registered twice")
        if not 0 < one.timeout_s <= MOST_TIMEOUT_S:
            raise PluginError(f"{kind} `{name}` may take up to {MOST_TIMEOUT_S} s, not {one.timeout_s}")
        if isinstance(one, Schedule):
            if one.every_s < LEAST_PERIOD_S:
                raise PluginError(f"schedule `{name}` cannot run more often than every {LEAST_PERIOD_S} s")
        elif isinstance(one.charge, PerUnit) and not (one.charge.per > 0 and one.charge.most > 0):
            raise PluginError(f"{kind} `{name}`: `per` and `most` of its charge must be at least 1")
