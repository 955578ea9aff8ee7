"""The key of a caller, for what it may see."""

from __future__ import annotations

import msgspec

from .query import Connection, Query


class CallerKey(msgspec.Struct, frozen=True):
    """A caller's key. `chain`: the keys that it replaced, and those that replaced it."""

    key_id: int
    customer_id: int
    role: str
    chain: list[int]


CALLER_KEY = Query(
    CallerKey,
    """
    select k.id as key_id, k.customer_id, k.role,
           array(select n.id from kaixu.virtual_key n where n.chain_id = k.chain_id) as chain
      from kaixu.virtual_key k
      join kaixu.customer c on c.id = k.customer_id
     where (k.key_hash = $1::bytea or k.key_hash = $2::bytea or k.id = $3::bigint)
       and k.revoked_at is null and c.is_active
     limit 1
    """,
)


async def caller_key(
    db: Connection, *, key_hash: bytes | None, legacy_hash: bytes | None, key_id: int | None
) -> CallerKey | None:
    """The key; None where it is unknown, revoked, or its customer is disabled."""
    return await CALLER_KEY.one(db, key_hash, legacy_hash, key_id)
