"""The customer of a session: the owner of an active key."""

from __future__ import annotations

import asyncpg

from kaixu.plugin.errors import CustomerDisabled, Unauthenticated
from kaixu.store.keys import KeyOwner, owner_of
from kaixu.store.pool import database

from .key_material import key_hash, legacy_hash


async def session_owner(pool: asyncpg.Pool, key: str, *, pepper: str) -> KeyOwner:
    """The owner of `key`. Raises `Unauthenticated` for one that is unknown or revoked, `CustomerDisabled`."""
    with database():
        owner = await owner_of(pool, key_hash=key_hash(pepper, key), legacy_hash=legacy_hash(key))
    if owner is None or owner.is_revoked:
        raise Unauthenticated("Invalid or revoked key")
    if not owner.is_active:
        raise CustomerDisabled("this account is disabled", hint="Ask your operator.")
    return owner
