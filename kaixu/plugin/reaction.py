"""Reactions: jobs of an integration that run because something has happened to a customer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal
from uuid import UUID

import msgspec

from kaixu.plugin.errors import PluginError

EventName = Literal["balance_below", "cap_warned", "cap_reached", "customer_created", "customer_deleted"]


class Reaction(msgspec.Struct, frozen=True):
    """Work for a customer, when `on` has happened to it: run by the core's queue, once for each time it happens.

    `handler` gets a `Call` with the customer and without a key; its body is a `Crossing`. It is tried `attempts` times.

    For "balance_below": `threshold` names a setting of the customer, a number that ends in `_cents` or `_nusd`; without
    a value the balance is not watched. `enabled`, if given, names a setting that must be true.
    """

    on: EventName
    handler: Callable[[Any], Awaitable[Any]]
    why_free: str
    threshold: str | None = None
    enabled: str | None = None
    attempts: int = 10
    timeout_s: float = 60.0


class Crossing(msgspec.Struct, frozen=True):
    """What has happened: once under this `id`, however often the handler runs.

    The figures are those of that moment, in nano-dollars: of "balance_below" the balance without holds, and the
    threshold; of caps the cap with credits, what is spent, and the percentage that was passed.
    """

    id: UUID
    on: EventName
    customer_id: int
    month: str | None = None
    balance_nusd: int | None = None
    threshold_nusd: int | None = None
    cap_nusd: int | None = None
    spent_nusd: int | None = None
    threshold_pct: int | None = None


class Done(msgspec.Struct, frozen=True):
    """The result of a reaction's job: its handler returns nothing."""


#: What one of a threshold is worth, by the end of its setting's name.
UNITS_NUSD = {"_cents": 10**7, "_nusd": 1}


def unit_nusd(threshold: str) -> int:
    """What one of a threshold's setting is worth. Raises `PluginError`."""
    for end, unit in UNITS_NUSD.items():
        if threshold.endswith(end):
            return unit
    raise PluginError(f"the threshold `{threshold}` must end in _cents or _nusd")
