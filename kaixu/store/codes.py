"""Redemption codes: batches, their codes, and redeeming one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

import msgspec

from .query import Connection, Query


class CodeBatch(msgspec.Struct, frozen=True):
    """Codes that were made at once, and how many of them are in which state. Money is in nano-dollars."""

    id: int
    amount_nusd: int
    expires_at: datetime
    email_domain: str | None
    plan_name: str | None
    note: str | None
    codes: int
    created_by: str
    created_at: datetime
    redeemed: int
    revoked: int


class ListedCode(msgspec.Struct, frozen=True):
    """A code, without itself."""

    id: int
    batch_id: int
    last4: str
    customer_id: int | None
    redeemed_at: datetime | None
    revoked_at: datetime | None


class MadeBatch(msgspec.Struct, frozen=True):
    """A batch; `made` is false where its idempotency key had been used."""

    batch_id: int
    made: bool


class Redeemed(msgspec.Struct, frozen=True):
    """What schema/functions/redeem_code.sql did. `refused` is a code, or None."""

    refused: str | None
    retry_after_s: int | None
    code_id: int | None
    batch_id: int | None
    customer_id: int | None
    month: date | None
    amount_nusd: int | None
    extra_nusd: int | None
    applied: bool | None


BATCH_COLUMNS = """
    select b.id, b.amount_nusd, b.expires_at, b.email_domain, b.plan_name, b.note, b.codes, b.created_by, b.created_at,
           c.redeemed, c.revoked
      from kaixu.code_batch b
     cross join lateral (select count(*) filter (where r.redeemed_at is not null) as redeemed,
                                count(*) filter (where r.revoked_at is not null) as revoked
                           from kaixu.redemption_code r
                          where r.batch_id = b.id) c
"""

BATCHES = Query(CodeBatch, f"{BATCH_COLUMNS} where $1::bigint is null or b.id < $1 order by b.id desc limit $2")
BATCH = Query(CodeBatch, f"{BATCH_COLUMNS} where b.id = $1")

CODES = Query(
    ListedCode,
    """
    select id, batch_id, last4, customer_id, redeemed_at, revoked_at
      from kaixu.redemption_code
     where batch_id = $1 and ($2::bigint is null or id > $2)
     order by id
     limit $3
    """,
)

CODE = Query(
    ListedCode,
    "select id, batch_id, last4, customer_id, redeemed_at, revoked_at from kaixu.redemption_code where id = $1",
)

MAKE = Query(
    MadeBatch,
    """
    select batch_id, made
      from kaixu.make_codes(
        p_idempotency_key => $1, p_amount_nusd => $2, p_expires_at => $3, p_email_domain => $4, p_plan_name => $5,
        p_note => $6, p_created_by => $7, p_code_hash => $8, p_last4 => $9)
    """,
)

REVOKE = Query(
    ListedCode,
    """
    update kaixu.redemption_code
       set revoked_at = now()
     where (batch_id = $1 or id = $2) and redeemed_at is null and revoked_at is null
    returning id, batch_id, last4, customer_id, redeemed_at, revoked_at
    """,
)

REDEEM = Query(
    Redeemed,
    """
    select refused, retry_after_s, code_id, batch_id, customer_id, month, amount_nusd, extra_nusd, applied
      from kaixu.redeem_code(
        p_key_id => $1, p_code_hash => $2, p_network => $3, p_per_customer => $4, p_per_network => $5,
        p_window_s => $6)
    """,
)


async def make_codes(
    db: Connection,
    *,
    idempotency_key: str,
    amount_nusd: int,
    expires_at: datetime,
    email_domain: str | None,
    plan_name: str | None,
    note: str | None,
    created_by: str,
    code_hashes: Sequence[bytes],
    last4: Sequence[str],
) -> MadeBatch:
    """Store a batch, once for each idempotency key."""
    made = await MAKE.one(
        db, idempotency_key, amount_nusd, expires_at, email_domain, plan_name, note, created_by, list(code_hashes),
        list(last4),
    )  # fmt: skip
    assert made is not None
    return made


async def note_pepper(db: Connection, batch_id: int, pepper_id: bytes) -> None:
    """Note which pepper the hashes of a new batch were made with, in the transaction that has made it."""
    await db.execute("update kaixu.code_batch set pepper_id = $2 where id = $1", batch_id, pepper_id)


async def stored_hash(db: Connection, code_hashes: Sequence[bytes]) -> bytes | None:
    """Which of these hashes a code has; None: there is no such code."""
    found: bytes | None = await db.fetchval(
        "select code_hash from kaixu.redemption_code where code_hash = any ($1::bytea[])", list(code_hashes)
    )
    return found


async def batches(db: Connection, *, before: int | None, limit: int) -> list[CodeBatch]:
    """At most `limit` batches, newest first, older than `before`."""
    return await BATCHES.all(db, before, limit)


async def batch(db: Connection, batch_id: int) -> CodeBatch | None:
    """One batch."""
    return await BATCH.one(db, batch_id)


async def codes(db: Connection, batch_id: int, *, after: int | None, limit: int) -> list[ListedCode]:
    """At most `limit` codes of a batch, beyond `after`."""
    return await CODES.all(db, batch_id, after, limit)


async def code(db: Connection, code_id: int) -> ListedCode | None:
    """One code."""
    return await CODE.one(db, code_id)


async def revoke_codes(db: Connection, *, batch_id: int | None, code_id: int | None) -> list[ListedCode]:
    """Revoke the codes of a batch, or one code, unless they are redeemed; those that were revoked now."""
    return await REVOKE.all(db, batch_id, code_id)


async def redeem_code(
    db: Connection,
    *,
    key_id: int,
    code_hash: bytes,
    network: bytes,
    per_customer: int,
    per_network: int,
    window_s: int,
) -> Redeemed:
    """Credit a code to the customer of a key, once."""
    redeemed = await REDEEM.one(db, key_id, code_hash, network, per_customer, per_network, window_s)
    assert redeemed is not None
    return redeemed
