"""The customer of a session: the owner of an active key, or of one that an operator acts with."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from kaixu.ops.clock import utc_now
from kaixu.plugin.errors import Conflict, CustomerDisabled, KeyExpired, Unauthenticated
from kaixu.store import customers
from kaixu.store.audit import AuditEvent, write_audit
from kaixu.store.keys import Key, KeyOwner, owner_of
from kaixu.store.pool import database

from .key_material import key_hash, other_hashes
from .keys import locked


async def session_owner(pool: asyncpg.Pool, key: str, *, peppers: Sequence[str]) -> KeyOwner:
    """The owner of `key`. Raises `Unauthenticated` for one that is unknown or revoked, `CustomerDisabled`."""
    with database():
        owner = await owner_of(pool, key_hash=key_hash(peppers[0], key), legacy_hash=other_hashes(peppers, key))
    if owner is None or owner.is_revoked:
        raise Unauthenticated("Invalid or revoked key")
    if owner.is_expired:
        raise KeyExpired
    if not owner.is_active:
        raise CustomerDisabled("this account is disabled", hint="Ask your operator.")
    return owner


async def session_for_operator(pool: asyncpg.Pool, key_id: int, *, ttl_s: int, actor: str, request_id: str) -> Key:
    """The key that an operator's session is made for. It is in the audit log: what the session does, its customer pays.

    Raises `NotFound`, and `Conflict` for a key that is revoked or has expired, or whose customer is switched off.
    """
    with database():
        async with pool.acquire() as connection, connection.transaction():
            key = await locked(connection, key_id)
            if key.revoked_at is not None:
                raise Conflict(
                    f"key {key_id} is revoked", hint="Choose another key, or restore this one.", code="KEY_REVOKED"
                )
            if key.expires_at is not None and key.expires_at <= utc_now():
                raise Conflict(f"key {key_id} has expired", hint="Choose another key, or give it a later `expires_at`.")
            customer = await customers.customer(connection, key.customer_id)
            if customer is None or not customer.is_active:
                raise Conflict(
                    f"customer {key.customer_id} is switched off", hint="Switch the customer on under Billing first."
                )
            meta = {"customer_id": key.customer_id, "key_last4": key.key_last4, "ttl_s": ttl_s}
            await write_audit(connection, AuditEvent(actor, "KEY_SESSION", f"key:{key_id}", request_id, meta=meta))
    return key
