"""Groups of keys: create, change, delete; every change and its audit event in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import asyncpg

from kaixu.plugin.errors import Conflict, Invalid, NotFound
from kaixu.store import customers
from kaixu.store import key_groups as store
from kaixu.store.audit import AuditEvent, row_of, write_audit
from kaixu.store.key_groups import KeyGroup, KeyGroupSettings
from kaixu.store.pool import database
from kaixu.store.query import Connection

from . import fields
from .changes import Field, changed, read, settings_of
from .customers import no_customer

__all__ = [
    "CHANGEABLE",
    "KeyGroup",
    "change_group",
    "create_group",
    "customer_groups",
    "delete_group",
    "no_group",
    "require_group",
]

#: The most groups of a customer.
MOST_GROUPS = 1000

#: Wire name → where it goes and how it is read. Null clears a limit, and leaves the name as it is.
CHANGEABLE: dict[str, Field] = {
    "name": Field("name", lambda value, name: fields.text(value, name, 60), clears=False),
    "monthly_cap_cents": Field("monthly_cap_nusd", fields.cents),
    "day_cap_cents": Field("day_cap_nusd", fields.cents),
    "rpm_limit": Field("rpm_limit", fields.calls),
    "tpm_limit": Field("tpm_limit", fields.tokens),
}

DEFAULTS: dict[str, Any] = {"monthly_cap_nusd": None, "day_cap_nusd": None, "rpm_limit": None, "tpm_limit": None}


async def customer_groups(pool: asyncpg.Pool, customer_id: int) -> list[KeyGroup]:
    """A customer's groups with this month's figures, oldest first. Raises `NotFound`."""
    with database():
        groups = await store.groups_of(pool, customer_id, limit=MOST_GROUPS)
        if not groups and await customers.customer(pool, customer_id) is None:
            raise no_customer(customer_id)
    return groups


async def create_group(
    pool: asyncpg.Pool, customer_id: int, given: Mapping[str, object], *, actor: str, request_id: str
) -> KeyGroup:
    """Create a group of a customer from its wire fields.

    Raises `Invalid` without a name or for a field that does not exist, `Unprocessable` naming a field, `NotFound`,
    `Conflict` where the name is taken or the customer has `MOST_GROUPS`.
    """
    fields.require_known(given, {*CHANGEABLE, "customer_id"})
    values = read(CHANGEABLE, given)
    if "name" not in values:
        raise Invalid("`name` is missing", field="name")
    settings = KeyGroupSettings(**DEFAULTS | values)
    with database():
        async with pool.acquire() as connection, connection.transaction():
            if await customers.locked_customer(connection, customer_id) is None:
                raise no_customer(customer_id)
            if len(await store.groups_of(connection, customer_id, limit=MOST_GROUPS)) >= MOST_GROUPS:
                raise Conflict(f"the customer has {MOST_GROUPS} groups, as many as are possible", hint="Delete one.")
            made = await store.insert_group(connection, customer_id, settings)
            await write_audit(
                connection, AuditEvent(actor, "GROUP_CREATE", f"group:{made.id}", request_id, after=row_of(made))
            )
    return made


async def change_group(
    pool: asyncpg.Pool, group_id: int, given: Mapping[str, object], *, actor: str, request_id: str
) -> KeyGroup:
    """Change the given wire fields of a group, from the next admission on. Returns the group.

    Raises `Invalid` where there is no field or one that does not exist, `Unprocessable` naming a field, `NotFound`,
    `Conflict` where the name is taken.
    """
    fields.require_known(given, {*CHANGEABLE, "group_id"})
    values = read(CHANGEABLE, given)
    if not CHANGEABLE.keys() & given.keys():
        raise Invalid("nothing to change", hint=f"Send one of {', '.join(CHANGEABLE)}.")
    with database():
        async with pool.acquire() as connection, connection.transaction():
            before = await locked(connection, group_id)
            settings = settings_of(KeyGroupSettings, before, values)
            if settings == settings_of(KeyGroupSettings, before, {}):
                return before
            after = await store.update_group(connection, group_id, settings)
            await write_audit(
                connection,
                AuditEvent(
                    actor,
                    "GROUP_UPDATE",
                    f"group:{group_id}",
                    request_id,
                    row_of(before),
                    row_of(after),
                    {"fields": changed(CHANGEABLE, before, after)},
                ),
            )
    return after


async def delete_group(pool: asyncpg.Pool, group_id: int, *, actor: str, request_id: str) -> None:
    """Delete a group. Raises `NotFound`, and `Conflict` while keys are in it that are not revoked.

    Those would lose their caps without anybody having said so.
    """
    with database():
        async with pool.acquire() as connection, connection.transaction():
            before = await locked(connection, group_id)
            if before.active_keys:
                raise Conflict(
                    f"{before.active_keys} keys are in group `{before.name}`",
                    hint="Take them out first, by their `group_id`, or revoke them.",
                    code="GROUP_IN_USE",
                )
            await store.delete_group(connection, before)
            await write_audit(
                connection, AuditEvent(actor, "GROUP_DELETE", f"group:{group_id}", request_id, row_of(before))
            )


async def require_group(connection: Connection, customer_id: int, group_id: int | None) -> None:
    """Raises `NotFound` for a group that the customer does not have. The caller has locked the customer's row."""
    if group_id is None:
        return
    group = await store.key_group(connection, group_id)
    if group is None or group.customer_id != customer_id:
        raise no_group(group_id)


async def locked(connection: Connection, group_id: int) -> KeyGroup:
    """One group, locked until the transaction ends. Raises `NotFound`."""
    group = await store.locked_group(connection, group_id)
    if group is None:
        raise no_group(group_id)
    return group


def no_group(group_id: object) -> NotFound:
    """The error for a group that does not exist, or that the customer does not have."""
    return NotFound(f"there is no group {group_id} of this customer", code="UNKNOWN_GROUP", field="group_id")
