"""The three hooks: two register plugins once at start, one observes events."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec
import pluggy

from kaixu.plugin.lane import Lane
from kaixu.plugin.operation import Integration
from kaixu.plugin.options import Options

hookspec = pluggy.HookspecMarker("kaixu")
hookimpl = pluggy.HookimplMarker("kaixu")


class RegisterLane(Protocol):
    """Registers one kind of lane."""

    def __call__(self, name: str, lane: type[Lane], options: type[Options]) -> None: ...


class RegisterIntegration(Protocol):
    """Registers one integration."""

    def __call__(self, integration: Integration) -> None: ...


class Event(msgspec.Struct, frozen=True):
    """Something that happened. `detail` contains values only, never a key or a secret.

    `kind` is "settled" (a call was billed) or a kind of the monitor: "blocked",
    "rate_limited", "error", "lost", "alert", "audit", "reload", "database_back".
    """

    kind: str
    detail: dict[str, Any]


@hookspec
def register_lanes(register: RegisterLane) -> None:
    """Register the lanes this plugin can open.

    Call `register(name, lane, options)` once for each kind of lane. `name` is
    what an operator writes after `plugin:` in kaixu.yaml; `options` is the model
    that section is read with; `lane(options)` is called once for each section,
    at start, after it validated.

    Raises:
        PluginError: another plugin has taken `name`. The message names both.
    """


@hookspec
def register_integrations(register: RegisterIntegration) -> None:
    """Register the integrations this plugin brings: `register(Integration(...))`.

    An integration serves only where kaixu.yaml has a section of its name.

    Raises:
        PluginError: another plugin has taken the name of the integration or of one of its operations.
    """


@hookspec
def on_event(event: Event) -> None:
    """Observe an event after it happened. Must be fast; cannot veto.

    Called from a bounded queue, one event at a time. An exception is logged
    with the plugin's name and has no other effect.
    """
