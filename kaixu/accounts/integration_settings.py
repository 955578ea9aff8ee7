"""Customers' settings of integrations, for operators."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import asyncpg
import msgspec

from kaixu.plugin.customer_settings import read_settings, setting_names, shown_settings
from kaixu.plugin.errors import Invalid, NotConfigured, NotFound, PluginFailed
from kaixu.plugin.operation import Integration
from kaixu.store import customers, settings_changes
from kaixu.store import integration_settings as store
from kaixu.store.pool import database

from .customers import no_customer


class ShownSettings(msgspec.Struct, frozen=True):
    """A customer's settings of one integration.

    `settings`: all values, with defaults. `own`: the names of those that somebody has set. `unused`: values that the
    integration, as it is, does not know; all values, if it is off. `problem`: why a stored value cannot be used.
    """

    integration: str
    settings: dict[str, Any]
    own: list[str]
    unused: dict[str, Any]
    problem: str | None = None


def shown_of(name: str, kind: type[msgspec.Struct] | None, stored: Mapping[str, Any]) -> ShownSettings:
    """The settings as an operator sees them."""
    names = [] if kind is None else setting_names(kind)
    own = sorted(one for one in stored if one in names)
    unused = {one: value for one, value in stored.items() if one not in names}
    if kind is None:
        return ShownSettings(name, {}, [], unused)
    try:
        return ShownSettings(name, shown_settings(read_settings(kind, stored)), own, unused)
    except PluginFailed as error:
        shown = shown_settings(kind()) | {one: stored[one] for one in own}
        return ShownSettings(name, shown, own, unused, error.message)


def with_settings(integrations: Iterable[Integration]) -> dict[str, Integration]:
    """The integrations that have settings of customers, by name."""
    return {one.name: one for one in integrations if one.customer is not None}


async def list_settings(
    pool: asyncpg.Pool, customer_id: int, integrations: Iterable[Integration]
) -> list[ShownSettings]:
    """A customer's settings of every integration that is on, and of those that have values of it. Raises `NotFound`."""
    with database():
        if await customers.customer(pool, customer_id) is None:
            raise no_customer(customer_id)
    declared = with_settings(integrations)
    stored = {row.integration: row.settings for row in await store.settings_of_customers(pool, [customer_id])}
    return [
        shown_of(name, declared[name].customer if name in declared else None, stored.get(name, {}))
        for name in sorted({*declared, *stored})
    ]


async def change_settings(
    pool: asyncpg.Pool,
    customer_id: int,
    name: str,
    changes: Mapping[str, Any],
    reset: Sequence[str],
    *,
    integrations: Iterable[Integration],
    off: Collection[str] = (),
    actor: str,
    request_id: str,
) -> ShownSettings:
    """Set some settings, and give those of `reset` their defaults. Raises as `store.settings_changes`.

    `off`: integrations of kaixu.yaml that cannot validate anything now; for them it raises `NotConfigured`.
    """
    integration = with_settings(integrations).get(name)
    if integration is None and name in off:
        raise NotConfigured(
            f"integration `{name}` is off, and only it knows which values are possible",
            hint="Its settings are kept. Switch it on, or change the fields of customers that `admin-customers` has.",
        )
    if integration is None:
        raise NotFound(f"no integration `{name}` that is on has settings of customers")
    if not changes and not reset:
        raise Invalid("nothing to change", hint="Send `settings`, or names of settings in `reset`.", field="settings")
    with database():
        async with pool.acquire() as connection:
            await settings_changes.change_settings(
                connection, customer_id, integration, changes, reset=reset, actor=actor, request_id=request_id
            )
        stored = await store.stored_settings(pool, customer_id, name)
    return shown_of(name, integration.customer, stored)


async def exported_settings(pool: asyncpg.Pool, customer_ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """The stored settings of these customers, by integration, on or off."""
    found: dict[int, dict[str, Any]] = {}
    for row in await store.settings_of_customers(pool, customer_ids):
        found.setdefault(row.customer_id, {})[row.integration] = row.settings
    return found
