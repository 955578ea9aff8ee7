"""The reactions of integrations: their declarations, and the jobs that run them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, get_args

import msgspec

from kaixu.plugin.errors import PluginError
from kaixu.plugin.operation import Free, Integration, Job, Operation, Retry, Schedule
from kaixu.plugin.reaction import Crossing, EventName, Reaction, unit_nusd

MOST_ATTEMPTS = 100
MOST_TIMEOUT_S = 3600

#: The event with a threshold.
BALANCE = "balance_below"


def kind_of(integration: str, reaction: Reaction) -> str:
    """The name of the job of a reaction."""
    return f"{integration}.reactions.{reaction.on}"


def job_of(integration: str, reaction: Reaction) -> Job:
    """The job of a reaction. Its handler returns nothing that anybody reads."""
    return Job(
        kind_of(integration, reaction),
        reaction.handler,
        Crossing,
        Free(reaction.why_free),
        retry=Retry(attempts=reaction.attempts),
        timeout_s=reaction.timeout_s,
    )


def stored_reactions(integrations: Iterable[Integration]) -> list[dict[str, Any]]:
    """All reactions as the database needs them, see schema/functions/set_reactions.sql."""
    return [
        {
            "integration": integration.name,
            "event": one.on,
            "kind": kind_of(integration.name, one),
            "most_attempts": one.attempts,
            "threshold": one.threshold,
            "threshold_unit_nusd": None if one.threshold is None else unit_nusd(one.threshold),
            "threshold_default": None if one.threshold is None else default_of(integration, one.threshold),
            "enabled": one.enabled,
        }
        for integration in integrations
        for one in integration.reactions
    ]


def default_of(integration: Integration, name: str) -> Any:
    """The default of a setting of customers. Raises `PluginError` where there is no such setting."""
    for field in msgspec.structs.fields(integration.customer) if integration.customer is not None else ():
        if field.encode_name == name:
            return field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    raise PluginError(f"`{name}` is not a setting of `customer`")


def check_reactions(integration: Integration) -> None:
    """Check events, settings, names and limits; handlers are checked with others. Raises `PluginError`."""
    seen: set[str] = set()
    for one in integration.reactions:
        if one.on not in get_args(EventName):
            raise PluginError(f"there is no event {one.on!r:.40}; there are {', '.join(get_args(EventName))}")
        try:
            check_reaction(integration, one)
        except PluginError as error:
            raise PluginError(f"reaction to `{one.on}`: {error}") from None
        if one.on in seen:
            raise PluginError(f"reaction to `{one.on}` is registered twice")
        seen.add(one.on)
    offered: list[Operation | Job | Schedule] = [*integration.operations, *integration.jobs, *integration.schedules]
    for name in (one.name for one in offered):
        if integration.reactions and name.startswith(f"{integration.name}.reactions."):
            raise PluginError(f"`{name}` cannot be named like a reaction")


def check_reaction(integration: Integration, one: Reaction) -> None:
    """Check what one reaction declares. Raises `PluginError`."""
    if not isinstance(one.why_free, str) or not one.why_free.strip():
        raise PluginError("`why_free` must say why it is free")
    if not isinstance(one.attempts, int) or not 1 <= one.attempts <= MOST_ATTEMPTS:
        raise PluginError(f"it can be tried 1 to {MOST_ATTEMPTS} times, not {one.attempts!r:.40}")
    if not isinstance(one.timeout_s, int | float) or not 0 < one.timeout_s <= MOST_TIMEOUT_S:
        raise PluginError(f"it may take up to {MOST_TIMEOUT_S} s, not {one.timeout_s!r:.40}")
    if one.on != BALANCE:
        if one.threshold is not None or one.enabled is not None:
            raise PluginError(f"only `{BALANCE}` has a threshold")
        return
    if not isinstance(one.threshold, str):
        raise PluginError("`threshold` must name a setting of customers")
    unit_nusd(one.threshold)
    default = default_of(integration, one.threshold)
    if default is not None and (isinstance(default, bool) or not isinstance(default, int)):
        raise PluginError(f"the default of `{one.threshold}` must be a whole number or None")
    if one.enabled is None:
        if default is not None:
            raise PluginError(
                f"the default of `{one.threshold}` must be None, or `enabled` must name a setting: else every customer "
                "would be watched"
            )
    elif default_of(integration, one.enabled) is not False:
        raise PluginError(f"the default of `{one.enabled}` must be False: else every customer would be watched")
