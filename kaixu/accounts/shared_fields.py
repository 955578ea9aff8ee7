"""Fields of customers that are settings of an integration: those of payments, as the older edition's clients know them.

An integration that is on and declares settings of these names validates them. While none does, they are kept among the
settings of `stripe`: shown, and changed by the rules here (docs/decisions/0053).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import asyncpg

from kaixu.config.price import cents_of_nusd
from kaixu.plugin.customer_settings import setting_names, value_conflict
from kaixu.plugin.errors import Invalid
from kaixu.plugin.operation import Integration
from kaixu.store import integration_settings as store
from kaixu.store.audit import AuditEvent, write_audit
from kaixu.store.customers import locked_customer
from kaixu.store.pool import database
from kaixu.store.query import DatabaseSession
from kaixu.store.settings_changes import change_settings

from . import fields
from .customers import (
    CHANGEABLE,
    Customer,
    change_customer_in,
    create_customer_in,
    no_customer,
)
from .integration_settings import shown_of, with_settings

#: The integration whose settings they are while no integration that is on declares them.
OWNER = "stripe"


class SharedField(NamedTuple):
    """How a field is read, and its value where nobody has set it. `clears`: null removes the value, else it is left."""

    read: Callable[[object, str], object]
    default: object = None
    clears: bool = True


def cents(value: object, name: str) -> int | None:
    """An amount in cents."""
    nusd = fields.cents(value, name)
    return None if nusd is None else cents_of_nusd(nusd)


#: The fields that `admin-customers` takes, by name.
FIELDS: Mapping[str, SharedField] = {
    "stripe_customer_id": SharedField(lambda value, name: fields.text(value, name, 200)),
    "auto_topup_enabled": SharedField(fields.flag, False, clears=False),
    "auto_topup_threshold_cents": SharedField(cents),
    "auto_topup_amount_cents": SharedField(cents),
}
TAKEN = tuple(FIELDS)

#: Those that no two customers have in common.
UNIQUE = ("stripe_customer_id",)

#: All that it shows, with their defaults.
SHOWN: Mapping[str, object] = {
    **{name: field.default for name, field in FIELDS.items()},
    "stripe_subscription_id": None,
    "stripe_current_period_end": None,
}


def owners_of(integrations: Iterable[Integration], names: Iterable[str]) -> dict[str, Integration]:
    """The integration that each field belongs to; where several declare it, the first one by name."""
    declared, wanted = with_settings(integrations), {*names}
    owners: dict[str, Integration] = {}
    for _, integration in sorted(declared.items()):
        assert integration.customer is not None
        for name in setting_names(integration.customer):
            if name in wanted:
                owners.setdefault(name, integration)
    return owners


async def shared_fields(
    pool: asyncpg.Pool, customer_ids: Sequence[int], integrations: Iterable[Integration]
) -> dict[int, dict[str, Any]]:
    """The values of all these fields, for each customer. A value that an integration cannot use is its default."""
    owners = owners_of(integrations, SHOWN)
    stored: dict[int, dict[str, dict[str, Any]]] = {customer_id: {} for customer_id in customer_ids}
    if customer_ids:
        for row in await store.settings_of_customers(pool, customer_ids):
            stored[row.customer_id][row.integration] = row.settings
    return {customer_id: values_of(owners, by_integration) for customer_id, by_integration in stored.items()}


def values_of(owners: Mapping[str, Integration], stored: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The values of one customer, whose settings are `stored` by integration."""
    found: dict[str, Any] = dict(SHOWN)
    for name in SHOWN:
        owner = owners.get(name)
        if owner is None:
            found[name] = stored.get(keeper_of(stored, name), {}).get(name, SHOWN[name])
            continue
        shown = shown_of(owner.name, owner.customer, stored.get(owner.name, {}))
        if shown.problem is None:
            found[name] = shown.settings[name]
    return found


def keeper_of(stored: Mapping[str, Mapping[str, Any]], name: str) -> str:
    """The integration that keeps a value while it is off."""
    return next((one for one in sorted(stored) if name in stored[one]), OWNER)


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
    with database():
        async with pool.acquire() as connection, connection.transaction():
            return await create_with_shared(
                connection,
                given,
                integrations=integrations,
                default_cap_nusd=default_cap_nusd,
                actor=actor,
                request_id=request_id,
            )


async def create_with_shared(
    db: DatabaseSession,
    given: Mapping[str, object],
    *,
    integrations: Sequence[Integration],
    default_cap_nusd: int,
    actor: str,
    request_id: str,
) -> Customer:
    """The same in the caller's transaction."""
    own = {name: value for name, value in given.items() if name not in FIELDS}
    made = await create_customer_in(db, own, default_cap_nusd=default_cap_nusd, actor=actor, request_id=request_id)
    await change_shared(db, made.id, given, integrations, actor=actor, request_id=request_id)
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
    with database():
        async with pool.acquire() as connection, connection.transaction():
            changed, _ = await change_with_shared(
                connection, customer_id, given, integrations=integrations, actor=actor, request_id=request_id
            )
    return changed


async def change_with_shared(
    db: DatabaseSession,
    customer_id: int,
    given: Mapping[str, object],
    *,
    integrations: Sequence[Integration],
    actor: str,
    request_id: str,
) -> tuple[Customer, bool]:
    """The same in the caller's transaction, and whether a setting was changed."""
    own = {name: value for name, value in given.items() if name not in FIELDS}
    fields.require_known(own, {*CHANGEABLE, "customer_id"})
    if not own.keys() - {"customer_id"} and len(own) == len(given):
        raise Invalid("nothing to change", hint=f"Send one of {', '.join((*CHANGEABLE, *FIELDS))}.")
    has_changed = await change_shared(db, customer_id, given, integrations, actor=actor, request_id=request_id)
    if own.keys() - {"customer_id"}:
        return await change_customer_in(db, customer_id, own, actor=actor, request_id=request_id), has_changed
    customer = await locked_customer(db, customer_id)
    if customer is None:
        raise no_customer(customer_id)
    return customer, has_changed


async def change_shared(
    db: DatabaseSession,
    customer_id: int,
    given: Mapping[str, object],
    integrations: Sequence[Integration],
    *,
    actor: str,
    request_id: str,
) -> bool:
    """Change the settings that are among a customer's fields; whether one was changed. See `change_settings`."""
    changes: dict[str, Any] = {}
    reset: list[str] = []
    for name, field in FIELDS.items():
        if name not in given:
            continue
        value = field.read(given[name], name)
        if value is not None:
            changes[name] = value
        elif field.clears:
            reset.append(name)
    if not changes and not reset:
        return False
    if await locked_customer(db, customer_id) is None:
        raise no_customer(customer_id)
    rows = {row.integration: row.settings for row in await store.settings_of_customers(db, [customer_id])}
    owners = owners_of(integrations, FIELDS)
    by_owner: dict[str, tuple[dict[str, Any], list[str]]] = {}
    for name in (*changes, *reset):
        owner = owners[name].name if name in owners else keeper_of(rows, name)
        own_changes, own_reset = by_owner.setdefault(owner, ({}, []))
        if name in changes:
            own_changes[name] = changes[name]
        else:
            own_reset.append(name)
    declared = {one.name: one for one in owners.values()}
    for owner, (own_changes, own_reset) in sorted(by_owner.items()):
        by = {"actor": actor, "request_id": request_id}
        if owner in declared:
            await change_settings(db, customer_id, declared[owner], own_changes, reset=own_reset, path="", **by)
        else:
            await change_kept(db, customer_id, owner, rows.get(owner, {}), own_changes, own_reset, **by)
    after = {row.integration: row.settings for row in await store.settings_of_customers(db, [customer_id])}
    return after != rows


async def change_kept(
    db: DatabaseSession,
    customer_id: int,
    owner: str,
    stored: Mapping[str, Any],
    changes: Mapping[str, Any],
    reset: Sequence[str],
    *,
    actor: str,
    request_id: str,
) -> None:
    """Change what is kept for an integration that is off: by these fields' own rules. Raises `Conflict`."""
    changed = {name: value for name, value in changes.items() if stored.get(name, SHOWN[name]) != value}
    gone = [name for name in reset if name in stored]
    if not changed and not gone:
        return
    written = await store.write_settings(db, customer_id, owner, changed, reset=gone, unique=UNIQUE)
    if written.refused is not None:
        raise value_conflict(written.field or "", "")
    assert written.settings is not None
    names = [*changed, *gone]
    await write_audit(
        db,
        AuditEvent(
            actor,
            "INTEGRATION_SETTINGS",
            f"customer:{customer_id}",
            request_id,
            before={name: stored.get(name, SHOWN[name]) for name in names},
            after={name: written.settings.get(name, SHOWN[name]) for name in names},
            meta={"integration": owner},
        ),
    )


async def take_customer_settings(db: DatabaseSession, integrations: Iterable[Integration]) -> int:
    """Move what gateways of the last release have written into columns to the settings; for how many customers.

    The columns themselves go with the next release.
    """
    owners = owners_of(integrations, FIELDS)
    by_owner: dict[str, list[str]] = {}
    for name in FIELDS:
        by_owner.setdefault(owners[name].name if name in owners else OWNER, []).append(name)
    total = 0
    for owner, names in by_owner.items():
        async with db.transaction():
            moved = await store.take_customer_settings(db, owner, names)
            if moved:
                meta = {"customers": moved, "fields": sorted(names)}
                await write_audit(
                    db, AuditEvent("gateway", "INTEGRATION_SETTINGS_TAKEN", f"integration:{owner}", None, meta=meta)
                )
        total += moved
    return total
