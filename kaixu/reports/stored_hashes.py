"""What is stored as hashes under KEY_PEPPER, and what still needs another pepper than the present one."""

from __future__ import annotations

from datetime import datetime

import msgspec

from kaixu.store.query import Connection, Query


class StoredHashes(msgspec.Struct, frozen=True):
    """How many of a kind can be used and are stored under the present pepper, and under another or an unknown one."""

    what: str
    present: int
    other: int


class KeyElsewhere(msgspec.Struct, frozen=True):
    """A key that can be used and is not known to be stored under the present pepper. `last_used_at`: of its chain."""

    key_id: int
    customer_id: int
    email: str
    label: str
    last4: str
    last_used_at: datetime | None


COUNTS = Query(
    StoredHashes,
    """
    select 'keys' as what, count(*) filter (where k.pepper_id = $1) as present,
           count(*) filter (where k.pepper_id is distinct from $1) as other
      from kaixu.virtual_key k
      join kaixu.customer c on c.id = k.customer_id
     where k.revoked_at is null and (k.expires_at > now()) is not false and c.deleted_at is null
    union all
    select 'API tokens', count(*) filter (where t.pepper_id = $1),
           count(*) filter (where t.pepper_id is distinct from $1)
      from kaixu.operator_token t
     where t.revoked_at is null and t.expires_at > now()
    union all
    select 'redemption codes', count(*) filter (where b.pepper_id = $1),
           count(*) filter (where b.pepper_id is distinct from $1)
      from kaixu.redemption_code r
      join kaixu.code_batch b on b.id = r.batch_id
     where r.redeemed_at is null and r.revoked_at is null and (b.expires_at > now()) is not false
    union all
    select 'recovery codes', count(*) filter (where r.pepper_id = $1),
           count(*) filter (where r.pepper_id is distinct from $1)
      from kaixu.operator_recovery_code r
     where r.used_at is null
    """,
)

ELSEWHERE = Query(
    KeyElsewhere,
    """
    select k.id as key_id, k.customer_id, c.email, k.label, k.key_last4 as last4, w.last_seen_at as last_used_at
      from kaixu.virtual_key k
      join kaixu.customer c on c.id = k.customer_id
      left join kaixu.rate_window w on w.chain_id = k.chain_id
     where k.revoked_at is null and (k.expires_at > now()) is not false and c.deleted_at is null
       and k.pepper_id is distinct from $1
     order by w.last_seen_at desc nulls last, k.id
     limit $2
    """,
)


async def stored_hashes(db: Connection, pepper_id: bytes) -> list[StoredHashes]:
    """The counts of each kind. Reads the tables as a whole."""
    return await COUNTS.all(db, pepper_id)


async def keys_elsewhere(db: Connection, pepper_id: bytes, *, limit: int) -> list[KeyElsewhere]:
    """Keys that are not known to be stored under the present pepper, the one that was used last first."""
    return await ELSEWHERE.all(db, pepper_id, limit)
