"""Devices: revoke, and restore where a seat is free."""

from __future__ import annotations

import asyncpg

from kaixu.plugin.errors import NotFound, SeatsFull
from kaixu.store import devices as store
from kaixu.store.audit import AuditEvent, row_of, write_audit
from kaixu.store.devices import Device, ListedDevice
from kaixu.store.pool import database

from .keys import locked

__all__ = ["Device", "ListedDevice", "change_device", "list_devices"]


async def list_devices(pool: asyncpg.Pool, customer_id: int, *, key_id: int | None, limit: int) -> list[ListedDevice]:
    """The devices of a customer, or of one of its keys; the last seen first."""
    with database():
        return await store.devices(pool, customer_id, key_id=key_id, limit=limit)


async def change_device(
    pool: asyncpg.Pool, key_id: int, install_id: str, *, revoked: bool, actor: str, request_id: str
) -> Device:
    """Revoke a device of a key's chain, or give it its seat back. Returns the device.

    Raises `NotFound`, and `SeatsFull` where all seats are taken by now.
    """
    with database():
        async with pool.acquire() as connection, connection.transaction():
            key = await locked(connection, key_id)
            before = await store.device(connection, key.chain_id, install_id)
            if before is None:
                raise NotFound(f"key {key_id} has no device `{install_id}`", code="UNKNOWN_DEVICE")
            if revoked == (before.revoked_at is not None):
                return before
            if revoked:
                await store.revoke_device(connection, key.chain_id, install_id, by=actor)
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
                    f"key:{key_id}",
                    request_id,
                    row_of(before),
                    row_of(after),
                    {"install_id": install_id},
                ),
            )
    return after
