"""Requests that need a key but call no model: whether the key is valid, and its rate of reading."""

from __future__ import annotations

import asyncpg
import msgspec

from .pool import database
from .query import Query


class ReadingDecision(msgspec.Struct, frozen=True):
    """What schema/functions/take_reading_rate.sql decided. `refused` is a code, or None."""

    refused: str | None
    retry_after_s: int | None
    rate_limit: int
    customer_id: int | None
    key_id: int | None


TAKE = Query(
    ReadingDecision,
    """
    select refused, retry_after_s, rate_limit, customer_id, key_id
      from kaixu.take_reading_rate(
        p_key_hash => $1, p_legacy_hash => $2, p_key_id => $3, p_units => $4, p_per_minute => $5,
        p_default_rpm => $6)
    """,
)


class Owner(msgspec.Struct, frozen=True):
    """The customer of a valid key."""

    customer_id: int


OWNER = Query(
    Owner,
    """
    select k.customer_id
      from kaixu.virtual_key k
      join kaixu.customer c on c.id = k.customer_id
     where (k.key_hash in ($1::bytea, substr($2::bytea, 1, 32), substr($2, 33, 32)) or k.id = $3::bigint)
       and k.revoked_at is null and (k.expires_at is null or k.expires_at > clock_timestamp()) and c.is_active
     limit 1
    """,
)


async def take_reading_rate(
    pool: asyncpg.Pool,
    *,
    key_hash: bytes | None,
    legacy_hash: bytes | None,
    key_id: int | None,
    units: int,
    per_minute: int,
    default_rpm: int,
) -> ReadingDecision:
    """Count one reading of `units`, or refuse it. Raises `DatabaseAway`."""
    with database():
        row = await TAKE.one(pool, key_hash, legacy_hash, key_id, units, per_minute, default_rpm)
    assert row is not None
    return row


async def owner_of(
    pool: asyncpg.Pool, *, key_hash: bytes | None, legacy_hash: bytes | None, key_id: int | None
) -> int | None:
    """Whose key it is; None where there is no such key, or it is of no use any more. Raises `DatabaseAway`."""
    with database():
        row = await OWNER.one(pool, key_hash, legacy_hash, key_id)
    return None if row is None else row.customer_id
