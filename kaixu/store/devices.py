"""Devices: the seats of a key chain, held now or earlier."""

from __future__ import annotations

from datetime import datetime

import msgspec

from .query import Connection, Query


class Device(msgspec.Struct, frozen=True):
    """A seat. Calls without an install id share the seat with the empty one."""

    chain_id: int
    install_id: str
    customer_id: int
    device_label: str | None
    first_seen_at: datetime
    last_seen_at: datetime
    last_seen_agent: str | None
    revoked_at: datetime | None
    revoked_by: str | None


class ListedDevice(Device, frozen=True):
    """A seat in the list, under the newest key of its chain."""

    key_id: int
    key_last4: str
    key_label: str


DEVICES = Query(
    ListedDevice,
    """
    select d.chain_id, d.install_id, d.customer_id, d.device_label, d.first_seen_at, d.last_seen_at,
           d.last_seen_agent, d.revoked_at, d.revoked_by, k.id as key_id, k.key_last4, k.label as key_label
      from kaixu.device d
      join lateral (select v.id, v.key_last4, v.label
                      from kaixu.virtual_key v
                     where v.chain_id = d.chain_id
                     order by v.id desc
                     limit 1) k on true
     where d.customer_id = $1
       and ($2::bigint is null or d.chain_id = (select v.chain_id from kaixu.virtual_key v where v.id = $2))
       and ($3::timestamptz is null or (d.last_seen_at, d.chain_id, d.install_id) < ($3, $4::bigint, $5::text))
     order by d.last_seen_at desc, d.chain_id desc, d.install_id desc
     limit $6
    """,
)

DEVICE = Query(
    Device,
    """
    select chain_id, install_id, customer_id, device_label, first_seen_at, last_seen_at, last_seen_agent,
           revoked_at, revoked_by
      from kaixu.device
     where chain_id = $1 and install_id = $2
    """,
)

REVOKED_DEVICE = Query(
    Device,
    """
    update kaixu.device
       set revoked_at = coalesce(revoked_at, now()), revoked_by = coalesce(revoked_by, $3)
     where chain_id = $1 and install_id = $2
    returning chain_id, install_id, customer_id, device_label, first_seen_at, last_seen_at, last_seen_agent,
              revoked_at, revoked_by
    """,
)

TAKEN_OVER = Query(
    Device,
    """
    update kaixu.device
       set revoked_by = $3
     where chain_id = $1 and install_id = $2 and revoked_at is not null
    returning chain_id, install_id, customer_id, device_label, first_seen_at, last_seen_at, last_seen_agent,
              revoked_at, revoked_by
    """,
)


class LastDevice(msgspec.Struct, frozen=True):
    """Where a page of devices ends."""

    last_seen_at: datetime
    chain_id: int
    install_id: str


async def devices(
    db: Connection, customer_id: int, *, key_id: int | None, after: LastDevice | None = None, limit: int
) -> list[ListedDevice]:
    """A customer's devices, those of one key's chain or of all; last seen first. `after`: only those beyond it."""
    last = (None, None, None) if after is None else msgspec.structs.astuple(after)
    return await DEVICES.all(db, customer_id, key_id, *last, limit)


async def device(db: Connection, chain_id: int, install_id: str) -> Device | None:
    """One device."""
    return await DEVICE.one(db, chain_id, install_id)


async def revoke_device(db: Connection, chain_id: int, install_id: str, *, by: str) -> Device | None:
    """Revoke a device; a second time changes nothing. None: there is no such device."""
    return await REVOKED_DEVICE.one(db, chain_id, install_id, by)


async def take_over_revocation(db: Connection, chain_id: int, install_id: str, *, by: str) -> Device | None:
    """Make a revocation `by`'s own, since when does not change. None: there is no such revoked device."""
    return await TAKEN_OVER.one(db, chain_id, install_id, by)


async def unrevoke_device(db: Connection, chain_id: int, install_id: str) -> str:
    """'unrevoked', 'full' or 'unknown', as schema/functions/unrevoke_device.sql decides."""
    decided: str = await db.fetchval(
        "select kaixu.unrevoke_device(p_chain_id => $1, p_install_id => $2)", chain_id, install_id
    )
    return decided
