"""Devices: revoke, and restore where a seat is free. A customer restores only what its own keys have revoked."""

from __future__ import annotations

import asyncpg

from kaixu.plugin.errors import CustomerDisabled, Forbidden, NotFound, SeatsFull, Unauthenticated
from kaixu.store import customers
from kaixu.store import devices as store
from kaixu.store import keys as store_keys
from kaixu.store.audit import AuditEvent, row_of, write_audit
from kaixu.store.devices import Device
from kaixu.store.keys import Key
from kaixu.store.pool import database
from kaixu.store.query import Connection

from .keys import locked, no_key

__all__ = ["Device", "change_device", "change_own_device"]

#: `revoked_by` of what customers revoke: with any key, and with one that has the role admin or owner. Other values are
#: operators'. The rank says whose revocation prevails.
BY_USER, BY_OWNER = "user", "owner"
CUSTOMER_RANKS = {BY_USER: 0, BY_OWNER: 1}
OPERATOR_RANK = 2

#: The roles that may change the devices of all keys of their account.
ADMIN_ROLES = ("admin", "owner")


async def change_device(
    pool: asyncpg.Pool, key_id: int, install_id: str, *, revoked: bool, actor: str, request_id: str
) -> Device:
    """Revoke a device of a key's chain for an operator, or give it its seat back. Returns the device.

    What the customer has revoked becomes the operator's revocation. Raises `NotFound`, and `SeatsFull` where all seats
    are taken by now.
    """
    with database():
        async with pool.acquire() as connection, connection.transaction():
            key = await locked(connection, key_id)
            return await change(
                connection, key, install_id, revoked=revoked, by=actor, actor=actor, request_id=request_id
            )


async def change_own_device(
    pool: asyncpg.Pool,
    own_key_id: int,
    key_id: int,
    install_id: str,
    *,
    revoked: bool,
    request_id: str,
) -> Device:
    """Revoke a device with a customer's key, or give it its seat back. `key_id`: its own, or one of the same account.

    Keys with the role admin or owner may change the devices of the account's other keys. Role and account are read
    under the account's lock. Raises `NotFound`, `SeatsFull`, `Unauthenticated`, `CustomerDisabled`, and `Forbidden`
    for a device that an operator or a higher role has revoked.
    """
    with database():
        async with pool.acquire() as connection, connection.transaction():
            own = await locked(connection, own_key_id)
            if own.revoked_at is not None:
                raise Unauthenticated("Invalid or revoked key")
            account = await customers.customer(connection, own.customer_id)
            if account is None or not account.is_active:
                raise CustomerDisabled("this account is disabled", hint="Ask your operator.")
            is_admin = own.role in ADMIN_ROLES
            key = own if key_id == own_key_id else await store_keys.key(connection, key_id)
            if key is None or key.customer_id != own.customer_id:
                raise no_key(key_id)
            if key.chain_id != own.chain_id and not is_admin:
                raise Forbidden("another key needs a key with the role admin or owner", hint="Leave `api_key_id` out.")
            by = BY_OWNER if is_admin else BY_USER
            return await change(
                connection,
                key,
                install_id,
                revoked=revoked,
                by=by,
                actor=f"key:{own.key_last4}",
                request_id=request_id,
            )


async def change(
    connection: Connection, key: Key, install_id: str, *, revoked: bool, by: str, actor: str, request_id: str
) -> Device:
    """Revoke or restore a device of a locked key. `by` decides what may be restored."""
    before = await store.device(connection, key.chain_id, install_id)
    if before is None:
        raise NotFound(f"key {key.id} has no device `{install_id}`", code="UNKNOWN_DEVICE")
    if before.revoked_at is not None:
        higher = rank(by) - rank(before.revoked_by)
        if not revoked and higher < 0:
            raise Forbidden(
                "this device was revoked by your operator"
                if rank(before.revoked_by) == OPERATOR_RANK
                else "this device was revoked with a key that has the role admin or owner",
                hint="Ask whoever revoked it to give it back.",
                code="DEVICE_REVOKED",
            )
        if revoked and higher <= 0:
            return before
    elif not revoked:
        return before
    if revoked and before.revoked_at is not None:
        await store.take_over_revocation(connection, key.chain_id, install_id, by=by)
    elif revoked:
        await store.revoke_device(connection, key.chain_id, install_id, by=by)
    elif await store.unrevoke_device(connection, key.chain_id, install_id) == "full":
        raise SeatsFull(
            f"all device seats of key …{key.key_last4} are taken",
            hint="Revoke another device first, or raise max_devices.",
        )
    after = await store.device(connection, key.chain_id, install_id)
    assert after is not None
    action = "DEVICE_REVOKE" if revoked else "DEVICE_UNREVOKE"
    await write_audit(
        connection,
        AuditEvent(
            actor,
            action,
            f"key:{key.id}",
            request_id,
            row_of(before),
            row_of(after),
            {"install_id": install_id},
        ),
    )
    return after


def rank(by: str | None) -> int:
    """Whose revocation it is: operators' have the highest rank."""
    return CUSTOMER_RANKS.get(by or "", OPERATOR_RANK)
