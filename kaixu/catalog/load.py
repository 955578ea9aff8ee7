"""Loads each plugin once, checks and runs its hooks, and stores what it registers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Literal, NamedTuple

import pluggy

from kaixu.config.mistakes import did_you_mean
from kaixu.plugin import hookspecs
from kaixu.plugin.customer_settings import check_customer_settings
from kaixu.plugin.errors import PluginError
from kaixu.plugin.hookspecs import Event
from kaixu.plugin.lane import Lane
from kaixu.plugin.operation import Integration
from kaixu.plugin.options import Options
from kaixu.plugin.origins import require_hosts
from kaixu.plugin.secret import check_secrets

from .check_integration import check_integration
from .find import FoundPlugin, NoSuchPlugin, find, lane_in, path_in
from .importing import import_plugin

log = logging.getLogger(__name__)
HOOKS = ("register_lanes", "register_integrations", "on_event")
Kind = Literal["lane", "integration", "observer"]


class LaneKind(NamedTuple):
    """A kind of lane that a plugin registered."""

    lane: type[Lane]
    options: type[Options]


class Plugin(NamedTuple):
    """A loaded plugin, its first name in kaixu.yaml, and what it registered."""

    name: str
    found: FoundPlugin
    module: ModuleType
    lanes: dict[str, LaneKind]
    integrations: dict[str, Integration]
    wrong: dict[str, PluginError]  # of integrations whose declarations have a mistake

    @property
    def kind(self) -> Kind:
        """The kind of plugin."""
        return "lane" if self.lanes else "integration" if self.integrations else "observer"


class WrongIntegration(PluginError):
    """An integration of a plugin that loads declares something that cannot be served."""

    def __init__(self, plugin: Plugin, error: PluginError) -> None:
        super().__init__(str(error))
        self.plugin = plugin


class Failure(NamedTuple):
    """A plugin that did not load, and the kind it was needed as."""

    kind: Kind
    found: FoundPlugin | None
    error: PluginError


class Loader:
    """Loads the plugins of one kaixu.yaml; `folder` is its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manager = pluggy.PluginManager("kaixu")
        self.manager.add_hookspecs(hookspecs)
        self.loaded: dict[str, Plugin] = {}  # by location: two names may mean one plugin
        self.failed: dict[str, Failure] = {}  # by name

    def load(self, name: str, kind: Kind) -> Plugin:
        """Load the plugin `name` and run its hooks. Raises `PluginError`; the same one each time for a name."""
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
        """The lane for `plugin: name`: the one of that name, or the only one of a file. Raises `PluginError`."""
        plugin = self.from_listed_files(name, lambda one: name in one.lanes) or self.load(name, "lane")
        lane_name = lane_in(name) or name
        if lane_name in plugin.lanes:
            return plugin, plugin.lanes[lane_name]
        if plugin.found.file is not None and len(plugin.lanes) == 1 and lane_in(name) is None:
            return plugin, next(iter(plugin.lanes.values()))
        have = ", ".join(f"`{one}`" for one in plugin.lanes) or "none"
        hint = f"; write {path_in(name)}:NAME" if len(plugin.lanes) > 1 and lane_in(name) is None else ""
        raise NoSuchPlugin(f"plugin {plugin.found.where} has no lane `{lane_name}`, it has {have}{hint}")

    def integration(self, name: str, plugin_name: str | None) -> tuple[Plugin, Integration]:
        """The integration for a section `name`. Raises `PluginError`, for its own mistakes `WrongIntegration`."""
        plugin_name = plugin_name or name
        plugin = self.from_listed_files(plugin_name, lambda one: name in one.integrations) or self.load(
            plugin_name, "integration"
        )
        if name not in plugin.integrations:
            have = ", ".join(f"`{one}`" for one in plugin.integrations) or "none"
            raise NoSuchPlugin(f"plugin {plugin.found.where} has no integration `{name}`, it has {have}")
        if name in plugin.wrong:
            raise WrongIntegration(plugin, plugin.wrong[name])
        return plugin, plugin.integrations[name]

    def folder_of(self, name: str) -> Path:
        """The folder of the module that registered integration `name`."""
        module = next(one.module for one in self.loaded.values() if name in one.integrations)
        assert module.__file__ is not None
        return Path(module.__file__).parent

    def from_listed_files(self, name: str, has: Callable[[Plugin], bool]) -> Plugin | None:
        """The plugin of `plugins:` that has what `name` needs. Raises `NoSuchPlugin` if two have it."""
        files = [one for one in self.loaded.values() if one.found.file is not None]
        match = next(filter(has, files), None)
        if match is None or path_in(name) is not None:
            return None
        try:
            other = find(name, self.folder)
        except NoSuchPlugin:
            return match
        if other.file == match.found.file:
            return match
        raise NoSuchPlugin(f"plugin `{name}` could be {match.found.where} or {other.where}; rename one")

    def register(self, name: str, found: FoundPlugin, module: ModuleType) -> Plugin:
        """Check the names and arguments of a module's hooks, and run the two that register.

        Raises `PluginError`; a plugin that fails is removed completely.
        """
        plugin = Plugin(name, found, module, {}, {}, {})

        def register_lane(name: str, lane: type[Lane], options: type[Options]) -> None:
            self.refuse_taken("lane", name, plugin, lambda one: name in one.lanes)
            plugin.lanes[name] = LaneKind(lane, options)

        def register_integration(integration: Integration) -> None:
            if not isinstance(integration, Integration):
                raise PluginError(f"it must register an Integration, not {integration!r:.80}")
            name = str(integration.name)
            self.refuse_taken("integration", name, plugin, lambda one: name in one.integrations)
            try:
                check_secrets(tuple(integration.secrets))
                check_customer_settings(integration.customer, integration.unique, integration.by_customer)
                check_integration(integration)
                require_hosts(name, integration.hosts)
            except PluginError as error:  # only this one is off: the plugin may bring others
                plugin.wrong[name] = failure(plugin.name, found, error, [])
            plugin.integrations[name] = integration

        try:
            self.manager.register(module, name=str(found.file or found.where))
            self.manager.check_pending()
            self.hook(module, "register_lanes")(register=register_lane)
            self.hook(module, "register_integrations")(register=register_integration)
        except Exception as error:  # third-party code can raise anything
            pending = [hook for hook in vars(self.manager.hook) if hook[0] != "_" and hook not in HOOKS]
            if self.manager.is_registered(module):
                self.manager.unregister(module)
            for hook in pending:
                delattr(self.manager.hook, hook)  # else the next plugin would be blamed for it
            raise failure(name, found, error, pending) from error
        return plugin

    def refuse_taken(self, kind: str, name: str, plugin: Plugin, has: Callable[[Plugin], bool]) -> None:
        """Raises `PluginError` with both plugins if `name` is registered already."""
        for other in [*self.loaded.values(), plugin]:
            if has(other):
                raise PluginError(f"{kind} `{name}` is registered by {other.found.where} and by {plugin.found.where}")

    def hook(self, module: ModuleType, name: str) -> pluggy.HookCaller:
        """The hook `name` of one plugin only."""
        others = [other for other in self.manager.get_plugins() if other is not module]
        return self.manager.subset_hook_caller(name, others)

    def observers(self) -> list[tuple[str, Callable[[Event], None]]]:
        """The location and the `on_event` of every loaded plugin that observes."""

        def observe_with(hook: pluggy.HookCaller) -> Callable[[Event], None]:
            return lambda event: hook(event=event) and None

        observing = {implementation.plugin for implementation in self.manager.hook.on_event.get_hookimpls()}
        return [
            (one.found.where, observe_with(self.hook(one.module, "on_event")))
            for one in self.loaded.values()
            if one.module in observing
        ]


def failure(name: str, found: FoundPlugin, error: Exception, pending: list[str]) -> PluginError:
    """The error of a plugin's hooks as one line that names the plugin."""
    who = f"plugin `{name}` ({found.where})"
    if isinstance(error, PluginError):
        return PluginError(f"{who}: {error}")
    if isinstance(error, pluggy.PluginValidationError):
        if pending:
            return PluginError(f"{who}: there is no hook `{pending[0]}`{did_you_mean(pending[0], HOOKS)}")
        return PluginError(f"{who}: {str(error).splitlines()[-1]}")
    log.debug("%s cannot register", who, exc_info=error)
    return PluginError(f"{who} cannot register: {type(error).__name__}: {error}")
