"""Virtual keys: create, change, rotate, revoke; every change and its audit event in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import msgspec

from kaixu.ops.clock import utc_now
from kaixu.plugin.errors import Conflict, Invalid, NotFound, Unprocessable
from kaixu.store import customers, plans
from kaixu.store import keys as store
from kaixu.store.audit import AuditEvent, row_of, write_audit
from kaixu.store.cap_alerts import note_cap
from kaixu.store.key_groups import move_key
from kaixu.store.keys import Key, KeySettings, ListedKey
from kaixu.store.pool import database
from kaixu.store.query import Connection

from . import fields
from .changes import Field, changed, read, settings_of
from .customers import no_customer
from .key_groups import require_group
from .key_material import key_hash, new_key, pepper_id
from .model_limits import model_limits

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
    "rpm_limit": Field("rpm_limit", fields.calls),
    "rpd_limit": Field("rpd_limit", fields.calls),
    "tpm_limit": Field("tpm_limit", fields.tokens),
    "day_cap_cents": Field("day_cap_nusd", fields.cents),
    "limits": Field("limits", model_limits),
    "expires_at": Field("expires_at", fields.instant),
    "group_id": Field("group_id", lambda value, name: fields.bounded(value, name, fields.MOST_ID, least=1)),
    "max_devices": Field("max_devices", lambda value, name: fields.bounded(value, name, fields.MOST_DEVICES)),
    "require_install_id": Field("require_install_id", fields.flag),
    "allowed_providers": Field("allowed_providers", fields.providers),
    "allowed_models": Field("allowed_models", fields.models),
    "allowed_collections": Field("allowed_collections", fields.collections),
    "alert_thresholds": Field("alert_thresholds", fields.thresholds),
}

#: The role is set at creation only: another role needs another key.
AT_CREATION = CHANGEABLE | {"role": Field("role", fields.role, clears=False)}

#: The columns that each key of a chain has for itself.
OWN = ("label", "expires_at")

#: The columns that a plan can set.
PLANNED = ("rpm_limit", "rpd_limit")

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
    "tpm_limit": None,
    "day_cap_nusd": None,
    "limits": None,
    "expires_at": None,
    "group_id": None,
    "alert_thresholds": None,
}


class MadeKey(msgspec.Struct, frozen=True):
    """A new key: its row, and the key itself, which is stored nowhere and shown once.

    `applied` false: it was made before, and `key` is empty.
    """

    row: Key
    key: str
    applied: bool = True


async def create_key(
    pool: asyncpg.Pool,
    customer_id: int,
    given: Mapping[str, object],
    *,
    pepper: str,
    actor: str,
    request_id: str,
    key: str | None = None,
) -> MadeKey:
    """Create a key of a customer from its wire fields. `key`: a fresh one that the caller has made.

    Raises `Invalid` for a field that does not exist, `Unprocessable` naming a field, `NotFound`.
    """
    fields.require_known(given, {*AT_CREATION, "customer_id"})
    settings = KeySettings(**DEFAULTS | read(AT_CREATION, given))
    if settings.expires_at is not None and settings.expires_at <= utc_now():
        raise Unprocessable("`expires_at` lies in the past", hint="Choose a later time.", field="expires_at")
    key = key or new_key()
    with database():
        async with pool.acquire() as connection, connection.transaction():
            if await customers.locked_customer(connection, customer_id) is None:
                raise no_customer(customer_id)
            await require_group(connection, customer_id, settings.group_id)
            made = await store.insert_key(
                connection,
                customer_id=customer_id,
                chain_id=None,
                key_hash=key_hash(pepper, key),
                pepper_id=pepper_id(pepper),
                key_last4=key[-4:],
                settings=settings,
            )
            made = await with_plan(connection, made, set())
            await write_audit(
                connection, AuditEvent(actor, "KEY_CREATE", f"key:{made.id}", request_id, after=row_of(made))
            )
    return MadeKey(made, key)


async def change_key(
    pool: asyncpg.Pool, key_id: int, given: Mapping[str, object], *, actor: str, request_id: str
) -> Key:
    """Change the given wire fields of a key, and return the key; `revoked` revokes or restores it.

    While a rotated key and its successor overlap, limits and allowlists change for both: they share what they have
    used, and the old key must not go on with what was taken from the new one.

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
            await require_no_extension(connection, before, values)
            group_id = values.get("group_id", before.group_id)
            if group_id != before.group_id:
                await require_group(connection, before.customer_id, group_id)
                await move_key(connection, before.customer_id, before.chain_id, group_id)
            now = await with_settings(connection, before, values, actor=actor, request_id=request_id)
            shared = {name: value for name, value in values.items() if name not in OWN}
            for other in await usable_beside(connection, before) if shared else []:
                await with_settings(connection, other, shared, actor=actor, request_id=request_id)
            if revoked is not None and revoked != (now.revoked_at is not None):
                now = await revoke(connection, now, revoked, actor=actor, request_id=request_id)
    return now


async def with_settings(
    connection: Connection, before: Key, values: Mapping[str, Any], *, actor: str, request_id: str
) -> Key:
    """A key with new values in some columns, with its audit event. The caller has locked the customer's row."""
    settings = settings_of(KeySettings, before, values)
    if settings == settings_of(KeySettings, before, {}):
        return before
    now = await store.update_key(connection, before.id, settings)
    own = {name for name in PLANNED if values.get(name) not in (None, getattr(before, name))}
    now = await with_plan(connection, now, {*before.from_plan} - own)
    if (before.monthly_cap_nusd, before.alert_thresholds) != (now.monthly_cap_nusd, now.alert_thresholds):
        await note_cap(connection, customer_id=now.customer_id, chain_id=now.chain_id)
    await write_audit(
        connection,
        AuditEvent(
            actor,
            "KEY_UPDATE",
            f"key:{before.id}",
            request_id,
            row_of(before),
            row_of(now),
            {"fields": changed(CHANGEABLE, before, now)},
        ),
    )
    return now


async def usable_beside(connection: Connection, key: Key) -> list[Key]:
    """The other keys of a key's chain that work, or may be restored; none beside a key that is over.

    The caller has locked the customer's row.
    """
    now = utc_now()
    newest, *earlier = await store.keys_of_chain(connection, key.chain_id)
    usable = [
        newest,
        *(one for one in earlier if one.revoked_at is None and (one.expires_at is None or one.expires_at > now)),
    ]
    others = [one for one in usable if one.id != key.id]
    return others if len(others) < len(usable) else []


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


async def requires_install_id(pool: asyncpg.Pool, key: Key) -> bool:
    """Whether calls of a key must name their device: by its own setting, else by its customer's."""
    if key.require_install_id is not None:
        return key.require_install_id
    with database():
        customer = await customers.customer(pool, key.customer_id)
    return customer is not None and customer.require_install_id


async def rotate_key(
    pool: asyncpg.Pool,
    key_id: int,
    *,
    pepper: str,
    actor: str,
    request_id: str,
    overlap_s: int = 0,
    idempotency_key: str | None = None,
) -> MadeKey:
    """Replace a key by a new one with the same settings, role and spend.

    The next admission refuses the old one, or the first one after `overlap_s` seconds; both are one chain meanwhile.
    A rotation that is asked for again with its `idempotency_key` changes nothing: the key of before is returned, with
    `applied` false, and without the key itself.

    Raises `NotFound`, and `Conflict` for a key that is revoked, has expired or was rotated before.
    """
    key = new_key()
    with database():
        async with pool.acquire() as connection, connection.transaction():
            old = await locked(connection, key_id)
            successor = await store.successor_of(connection, old)
            if successor is not None and idempotency_key is not None:
                rotation = await store.rotation_of(connection, key_id)
                if rotation is not None and rotation.idempotency_key == idempotency_key:
                    return MadeKey(successor, "", applied=False)
            require_rotatable(old, successor)
            made = await store.insert_key(
                connection,
                customer_id=old.customer_id,
                chain_id=old.chain_id,
                key_hash=key_hash(pepper, key),
                pepper_id=pepper_id(pepper),
                key_last4=key[-4:],
                settings=settings_of(KeySettings, old, {}),
            )
            made = await with_plan(connection, made, {*old.from_plan})
            if overlap_s:
                ends_at = utc_now() + timedelta(seconds=overlap_s)
                ends_at = ends_at if old.expires_at is None else min(ends_at, old.expires_at)
                ended = await store.update_key(
                    connection, key_id, settings_of(KeySettings, old, {"expires_at": ends_at})
                )
            else:
                revoked = await store.set_revoked(connection, key_id, True)
                assert revoked is not None
                ended = revoked
            await write_audit(
                connection,
                AuditEvent(
                    actor,
                    "KEY_ROTATE",
                    f"key:{key_id}",
                    request_id,
                    row_of(ended),
                    row_of(made),
                    {"new_key_id": made.id, "overlap_s": overlap_s, "idempotency_key": idempotency_key},
                ),
            )
    return MadeKey(made, key)


def require_rotatable(old: Key, successor: Key | None) -> None:
    """Raises `Conflict` for a key that is revoked, has expired, or has a successor."""
    if old.revoked_at is not None:
        raise Conflict(
            f"key {old.id} is revoked and cannot be rotated",
            hint="Create a new key, or restore this one first.",
            code="KEY_REVOKED",
        )
    if successor is not None:
        raise Conflict(f"key {old.id} was rotated before", hint=f"Rotate its successor, key {successor.id}.")
    if old.expires_at is not None and old.expires_at <= utc_now():
        raise Conflict(
            f"key {old.id} has expired and cannot be rotated",
            hint="Give it a later `expires_at` first, or create a new key.",
        )


async def require_no_extension(connection: Connection, before: Key, values: Mapping[str, object]) -> None:
    """Raises `Conflict` for a later expiry of a key that was rotated: it ends with its overlap."""
    expires_at = values.get("expires_at", before.expires_at)
    if expires_at == before.expires_at or before.expires_at is None:
        return
    is_later = not isinstance(expires_at, datetime) or expires_at > before.expires_at
    if is_later and await store.successor_of(connection, before) is not None:
        raise Conflict(
            f"key {before.id} was rotated and cannot live longer", hint="Use its successor, or create a new key."
        )


async def with_plan(connection: Connection, key: Key, from_plan: set[str]) -> Key:
    """A key with the rates of its customer's plan in the columns `from_plan`, and where it has none.

    The caller has locked the customer's row.
    """
    await plans.set_key_from_plan(connection, key.id, sorted(from_plan))
    await plans.take_plan(connection, key.customer_id)
    planned = await store.key(connection, key.id)
    assert planned is not None
    return planned


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
