"""Checks what integrations declare of callbacks."""

from __future__ import annotations

import inspect
import re
from typing import get_args

import msgspec

from kaixu.plugin.callback import Bind, Callback
from kaixu.plugin.errors import PluginError
from kaixu.plugin.operation import Integration

from .core_names import CORE_FUNCTIONS

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
MOST_TIMEOUT_S = 300


def check_callbacks(integration: Integration) -> None:
    """Check everything that callbacks declare. Raises `PluginError`."""
    for at, one in enumerate(integration.callbacks):
        if not isinstance(one, Callback):
            raise PluginError(f"`callbacks[{at}]` of integration `{integration.name}` must be a Callback")
    names = [one.name for one in integration.callbacks]
    aliases = [alias for one in integration.callbacks for alias in one.aliases]
    taken = {alias for one in integration.operations for alias in one.aliases}
    for name in [*names, *aliases]:
        if not isinstance(name, str) or not NAME.fullmatch(name) or len(name) > 60:
            raise PluginError(f"callback `{name!s:.80}` must be named in small letters, digits and hyphens")
        if names.count(name) > 1 or aliases.count(name) > 1:
            raise PluginError(f"callback `{name}` is registered twice")
    for alias in aliases:
        if alias in CORE_FUNCTIONS or alias in taken:
            raise PluginError(f"callback alias `{alias}` is an endpoint already")
    for one in integration.callbacks:
        try:
            check_callback(one)
        except PluginError as error:
            raise PluginError(f"callback `{one.name}`: {error}") from None
    for operation in integration.operations:
        if operation.name.startswith(f"{integration.name}.callbacks.") or operation.path_below.startswith(
            "/callbacks/"
        ):
            raise PluginError(f"operation `{operation.name}` cannot be named like a callback")


def check_callback(one: Callback) -> None:
    """Check one callback. Raises `PluginError`."""
    if not inspect.iscoroutinefunction(one.handler):
        raise PluginError("its handler must be an `async def` function")
    if not isinstance(one.why_free, str) or not one.why_free.strip():
        raise PluginError("`why_free` must say why it is free")
    if one.bind not in get_args(Bind):
        raise PluginError(f"`bind` is browser or link, not {one.bind!r:.40}")
    if one.bind == "browser" and one.authorize is None:
        raise PluginError("`authorize` must make the vendor's address")
    for what in (one.authorize, one.redirect_uri):
        if what is not None and (not callable(what) or inspect.iscoroutinefunction(what)):
            raise PluginError("`authorize` and `redirect_uri` must be plain functions")
    if not 0 < one.timeout_s <= MOST_TIMEOUT_S:
        raise PluginError(f"it may take up to {MOST_TIMEOUT_S} s, not {one.timeout_s}")
    if not (isinstance(one.data, type) and issubclass(one.data, msgspec.Struct)):
        raise PluginError("its `data` must be a subclass of msgspec.Struct")
    try:
        msgspec.json.Decoder(one.data)
    except Exception as error:  # noqa: BLE001 - a type that cannot be resolved raises whatever its expression raises
        raise PluginError(f"its `data` cannot be read: {type(error).__name__}: {error}") from None
