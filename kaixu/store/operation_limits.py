"""The own limits of integrations' operations, and who calls one."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import asyncpg
import msgspec

from .pool import database
from .query import Query


class OperationDecision(msgspec.Struct, frozen=True):
    """What schema/functions/take_operation_limits.sql decided. `refused` is a code, or None."""

    refused: str | None
    bound: int | None
    retry_after_s: int | None


TAKE = Query(
    OperationDecision,
    """
    select refused, bound, retry_after_s
      from kaixu.take_operation_limits(
        p_customer_id => $1, p_operation => $2, p_ticket => $3, p_at_once => $4, p_most => $5, p_per_s => $6,
        p_chain_id => $7)
    """,
)


class KeyOwner(msgspec.Struct, frozen=True):
    """What an operation learns about the key that calls it."""

    role: str
    key_last4: str
    email: str | None


OWNER = Query(
    KeyOwner,
    """
    select k.role, k.key_last4, c.email
      from kaixu.virtual_key k
      join kaixu.customer c on c.id = k.customer_id
     where k.id = $1
    """,
)


async def take_operation_limits(
    pool: asyncpg.Pool,
    *,
    customer_id: int,
    operation: str,
    ticket: UUID | None,
    at_once: int | None,
    most: Sequence[int],
    per_s: Sequence[int],
    chain_ids: Sequence[int],
) -> OperationDecision:
    """Count one call in all of the operation's limits, or in none of them. Raises `DatabaseAway`."""
    with database():
        row = await TAKE.one(pool, customer_id, operation, ticket, at_once, most, per_s, chain_ids)
    assert row is not None
    return row


async def key_owner(pool: asyncpg.Pool, key_id: int) -> KeyOwner | None:
    """A key's role and its customer's address. Raises `DatabaseAway`."""
    with database():
        return await OWNER.one(pool, key_id)
