"""Fields of customers that an integration can take over: they are its settings, if it declares settings of these names.

Without such an integration they are columns of the customer: stored and shown, without effect.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import asyncpg

from kaixu.config.price import cents_of_nusd
from kaixu.plugin.customer_settings import setting_names
from kaixu.plugin.operation import Integration
from kaixu.store import integration_settings as store
from kaixu.store.audit import AuditEvent, write_audit
from kaixu.store.pool import database
from kaixu.store.query import DatabaseSession
from kaixu.store.settings_changes import change_settings

from .customers import CHANGEABLE, Customer, change_customer_in, create_customer_in, find_customer
from .integration_settings import shown_of, with_settings

#: The fields that `admin-customers` takes, and those that it only shows.
TAKEN = ("stripe_customer_id", "auto_topup_enabled", "auto_topup_threshold_cents", "auto_topup_amount_cents")
SHOWN = (*TAKEN, "stripe_subscription_id", "stripe_current_period_end")


def owners_of(integrations: Iterable[Integration], names: Sequence[str]) -> dict[str, Integration]:
    """The integration that each field belongs to; where several declare it, the first one by name."""
    declared = with_settings(integrations)
    owners: dict[str, Integration] = {}
    for _, integration in sorted(declared.items()):
        assert integration.customer is not None
        for name in setting_names(integration.customer):
            if name in names:
                owners.setdefault(name, integration)
    return owners


async def shared_fields(
    pool: asyncpg.Pool, customer_ids: Sequence[int], integrations: Iterable[Integration]
) -> dict[int, dict[str, Any]]:
    """For each customer, the values of fields that belong to an integration. One that cannot be used is left out."""
    owners = owners_of(integrations, SHOWN)
    found: dict[int, dict[str, Any]] = {customer_id: {} for customer_id in customer_ids}
    if not owners or not customer_ids:
        return found
    rows = await store.settings_of_customers(pool, customer_ids)
    stored = {(row.customer_id, row.integration): row.settings for row in rows}
    for customer_id in customer_ids:
        for name, integration in owners.items():
            values = stored.get((customer_id, integration.name), {})
            shown = shown_of(integration.name, integration.customer, values)
            if shown.problem is None:
                found[customer_id][name] = shown.settings[name]
    return found


async def create_customer(
    pool: asyncpg.Pool,
    given: Mapping[str, object],
    *,
    integrations: Sequence[Integration],
    default_cap_nusd: int,
    actor: str,
    request_id: str,
) -> Customer:
    """Create a customer, with the settings that are among its fields. Raises as `customers.create_customer`."""
    owners = owners_of(integrations, TAKEN)
    own = {name: value for name, value in given.items() if name not in owners}
    with database():
        async with pool.acquire() as connection, connection.transaction():
            made = await create_customer_in(
                connection, own, default_cap_nusd=default_cap_nusd, actor=actor, request_id=request_id
            )
            await change_shared(connection, made.id, given, owners, actor=actor, request_id=request_id)
    return made


async def change_customer(
    pool: asyncpg.Pool,
    customer_id: int,
    given: Mapping[str, object],
    *,
    integrations: Sequence[Integration],
    actor: str,
    request_id: str,
) -> Customer:
    """Change a customer, and the settings that are among its fields. Raises as `customers.change_customer`."""
    owners = owners_of(integrations, TAKEN)
    own = {name: value for name, value in given.items() if name not in owners}
    has_shared = len(own) < len(given)
    with database():
        async with pool.acquire() as connection, connection.transaction():
            await change_shared(connection, customer_id, given, owners, actor=actor, request_id=request_id)
            if not has_shared or own.keys() - {"customer_id"}:
                return await change_customer_in(connection, customer_id, own, actor=actor, request_id=request_id)
    return await find_customer(pool, str(customer_id))


async def change_shared(
    db: DatabaseSession,
    customer_id: int,
    given: Mapping[str, object],
    owners: Mapping[str, Integration],
    *,
    actor: str,
    request_id: str,
) -> None:
    """Change the settings that are among a customer's fields. Raises as `store.settings_changes`."""
    changes: dict[str, dict[str, Any]] = {}
    reset: dict[str, list[str]] = {}
    for name, integration in owners.items():
        if name not in given:
            continue
        field = CHANGEABLE[name]
        value: Any = field.read(given[name], name)
        if value is not None:
            is_money = name.endswith("_cents")
            changes.setdefault(integration.name, {})[name] = cents_of_nusd(value) if is_money else value
        elif field.clears:
            reset.setdefault(integration.name, []).append(name)
    for integration in {one.name: one for one in owners.values()}.values():
        if integration.name in changes or integration.name in reset:
            await change_settings(
                db,
                customer_id,
                integration,
                changes.get(integration.name, {}),
                reset=reset.get(integration.name, ()),
                actor=actor,
                request_id=request_id,
                path="",
            )


async def take_customer_settings(db: DatabaseSession, integrations: Iterable[Integration]) -> int:
    """Move what customers' own columns hold into the settings that now stand for them; for how many customers."""
    fields: dict[str, list[str]] = {}
    for name, integration in owners_of(integrations, TAKEN).items():
        fields.setdefault(integration.name, []).append(name)
    total = 0
    for name, names in fields.items():
        async with db.transaction():
            moved = await store.take_customer_settings(db, name, names)
            if moved:
                meta = {"customers": moved, "fields": sorted(names)}
                await write_audit(
                    db, AuditEvent("gateway", "INTEGRATION_SETTINGS_TAKEN", f"integration:{name}", None, meta=meta)
                )
        total += moved
    return total
