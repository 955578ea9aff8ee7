"""Virtual keys: create, change, rotate, revoke; every change and its audit event in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import asyncpg
import msgspec

from kaixu.plugin.errors import Conflict, Invalid, NotFound
from kaixu.store import customers
from kaixu.store import keys as store
from kaixu.store.audit import AuditEvent, row_of, write_audit
from kaixu.store.keys import Key, KeySettings, ListedKey
from kaixu.store.pool import database
from kaixu.store.query import Connection

from . import fields
from .changes import Field, changed, read, settings_of
from .customers import no_customer
from .key_material import key_hash, new_key

__all__ = [
    "AT_CREATION",
    "CHANGEABLE",
    "Key",
    "ListedKey",
    "MadeKey",
    "change_key",
    "create_key",
    "find_key",
    "locked",
    "no_key",
    "rotate_key",
]

#: Wire name → where it goes and how it is read. Null clears a limit, and leaves the label as it is.
CHANGEABLE: dict[str, Field] = {
    "label": Field("label", lambda value, name: fields.text(value, name, 60), clears=False),
    "monthly_cap_cents": Field("monthly_cap_nusd", fields.cents),
    "rpm_limit": Field("rpm_limit", lambda value, name: fields.bounded(value, name, fields.MOST_CALLS)),
    "rpd_limit": Field("rpd_limit", lambda value, name: fields.bounded(value, name, fields.MOST_CALLS)),
    "max_devices": Field("max_devices", lambda value, name: fields.bounded(value, name, fields.MOST_DEVICES)),
    "require_install_id": Field("require_install_id", fields.flag),
    "allowed_providers": Field("allowed_providers", fields.providers),
    "allowed_models": Field("allowed_models", fields.models),
    "allowed_collections": Field("allowed_collections", fields.collections),
}

#: The role is set at creation only: another role needs another key.
AT_CREATION = CHANGEABLE | {"role": Field("role", fields.role, clears=False)}

DEFAULTS: dict[str, Any] = {
    "label": "subkey",
    "role": "deployer",
    "monthly_cap_nusd": None,
    "rpm_limit": None,
    "rpd_limit": None,
    "max_devices": None,
    "require_install_id": None,
    "allowed_providers": None,
    "allowed_models": None,
    "allowed_collections": None,
}


class MadeKey(msgspec.Struct, frozen=True):
    """A new key: its row, and the key itself, which is stored nowhere and shown once."""

    row: Key
    key: str


async def create_key(
    pool: asyncpg.Pool,
    customer_id: int,
    given: Mapping[str, object],
    *,
    pepper: str,
    actor: str,
    request_id: str,
) -> MadeKey:
    """Create a key of a customer from its wire fields.

    Raises `Invalid` for a field that does not exist, `Unprocessable` naming a field, `NotFound`.
    """
    fields.require_known(given, {*AT_CREATION, "customer_id"})
    settings = KeySettings(**DEFAULTS | read(AT_CREATION, given))
    key = new_key()
    with database():
        async with pool.acquire() as connection, connection.transaction():
            if await customers.locked_customer(connection, customer_id) is None:
                raise no_customer(customer_id)
            made = await store.insert_key(
                connection,
                customer_id=customer_id,
                chain_id=None,
                key_hash=key_hash(pepper, key),
                key_last4=key[-4:],
                settings=settings,
            )
            await write_audit(
                connection, AuditEvent(actor, "KEY_CREATE", f"key:{made.id}", request_id, after=row_of(made))
            )
    return MadeKey(made, key)


async def change_key(
    pool: asyncpg.Pool, key_id: int, given: Mapping[str, object], *, actor: str, request_id: str
) -> Key:
    """Change the given wire fields of a key, and return the key; `revoked` revokes or restores it.

    Raises `Invalid` where there is no field or one that does not exist, `Unprocessable` naming a field, `NotFound`,
    and `Conflict` for restoring a rotated key.
    """
    fields.require_known(given, {*AT_CREATION, "revoked", "key_id"})
    values = read(CHANGEABLE, given)
    role = fields.role(given.get("role"), "role")
    revoked = fields.flag(given.get("revoked"), "revoked")
    if not (AT_CREATION.keys() | {"revoked"}) & given.keys():
        raise Invalid("nothing to change", hint=f"Send one of revoked, {', '.join(CHANGEABLE)}.")
    with database():
        async with pool.acquire() as connection, connection.transaction():
            now = before = await locked(connection, key_id)
            if role not in (None, before.role):
                raise Invalid("`role` cannot be changed", hint="Create another key with that role.", field="role")
            settings = settings_of(KeySettings, before, values)
            if settings != settings_of(KeySettings, before, {}):
                now = await store.update_key(connection, key_id, settings)
                await write_audit(
                    connection,
                    AuditEvent(
                        actor,
                        "KEY_UPDATE",
                        f"key:{key_id}",
                        request_id,
                        row_of(before),
                        row_of(now),
                        {"fields": changed(CHANGEABLE, before, now)},
                    ),
                )
            if revoked is not None and revoked != (now.revoked_at is not None):
                now = await revoke(connection, now, revoked, actor=actor, request_id=request_id)
    return now


async def find_key(pool: asyncpg.Pool, key_id: int) -> Key:
    """One key. Raises `NotFound`."""
    with database():
        key = await store.key(pool, key_id)
    if key is None:
        raise no_key(key_id)
    return key


async def key_for_operator(pool: asyncpg.Pool, customer_id: int) -> Key:
    """The key to use where an operator acts for a customer: its oldest active one.

    Raises `NotFound`, and `Conflict` where the customer has no active key.
    """
    with database():
        key = await store.oldest_active_key(pool, customer_id)
        if key is not None:
            return key
        if await customers.customer(pool, customer_id) is None:
            raise no_customer(customer_id)
    raise Conflict(f"customer {customer_id} has no key", hint="Create one first.", code="NO_LIVE_KEY")


async def rotate_key(pool: asyncpg.Pool, key_id: int, *, pepper: str, actor: str, request_id: str) -> MadeKey:
    """Replace a key by a new one with the same settings, role and spend.

    The next admission refuses the old one. Raises `NotFound`, and
    `Conflict` for a key that is revoked.
    """
    key = new_key()
    with database():
        async with pool.acquire() as connection, connection.transaction():
            old = await locked(connection, key_id)
            if old.revoked_at is not None:
                raise Conflict(
                    f"key {key_id} is revoked and cannot be rotated",
                    hint="Create a new key, or restore this one first.",
                    code="KEY_REVOKED",
                )
            made = await store.insert_key(
                connection,
                customer_id=old.customer_id,
                chain_id=old.chain_id,
                key_hash=key_hash(pepper, key),
                key_last4=key[-4:],
                settings=settings_of(KeySettings, old, {}),
            )
            ended = await store.set_revoked(connection, key_id, True)
            assert ended is not None
            await write_audit(
                connection,
                AuditEvent(
                    actor,
                    "KEY_ROTATE",
                    f"key:{key_id}",
                    request_id,
                    row_of(ended),
                    row_of(made),
                    {"new_key_id": made.id},
                ),
            )
    return MadeKey(made, key)


async def locked(connection: Connection, key_id: int) -> Key:
    """One key, locked until the transaction ends. Raises `NotFound`."""
    key = await store.locked_key(connection, key_id)
    if key is None:
        raise no_key(key_id)
    return key


async def revoke(connection: Connection, before: Key, revoked: bool, *, actor: str, request_id: str) -> Key:
    """Revoke or restore a locked key, with its audit event. Raises `Conflict` for a rotated key."""
    after = await store.set_revoked(connection, before.id, revoked)
    if after is None:
        raise Conflict(
            f"key {before.id} was rotated and cannot be restored", hint="Use its successor, or create a new key."
        )
    action = "KEY_REVOKE" if revoked else "KEY_UNREVOKE"
    await write_audit(
        connection,
        AuditEvent(actor, action, f"key:{before.id}", request_id, row_of(before), row_of(after)),
    )
    return after


def no_key(key_id: object) -> NotFound:
    """The error for a key that does not exist."""
    return NotFound(f"there is no key {key_id}", code="UNKNOWN_KEY")
