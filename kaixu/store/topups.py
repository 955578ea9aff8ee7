"""Top-ups: credits that raise a month's cap, each once."""

from __future__ import annotations

from datetime import date

import msgspec

from .query import Connection, Query


class TopUp(msgspec.Struct, frozen=True):
    """A credit as it was booked. Money is in nano-dollars."""

    id: int
    customer_id: int
    month: date
    amount_nusd: int
    source: str


class Applied(msgspec.Struct, frozen=True):
    """What schema/functions/top_up.sql did; `applied` is false where the idempotency key had been used."""

    applied: bool
    extra_nusd: int


TOP_UP = Query(
    Applied,
    """
    select applied, extra_nusd
      from kaixu.top_up(
        p_idempotency_key => $1, p_customer_id => $2, p_month => $3, p_amount_nusd => $4, p_source => $5)
    """,
)

OF_KEY = Query(
    TopUp,
    "select id, customer_id, month, amount_nusd, source from kaixu.topup where idempotency_key = $1",
)


async def top_up(
    db: Connection, *, idempotency_key: str, customer_id: int, month: date, amount_nusd: int, source: str
) -> Applied | None:
    """Raise a month's cap, once for each idempotency key. None: there is no such customer."""
    return await TOP_UP.one(db, idempotency_key, customer_id, month, amount_nusd, source)


async def topup_of(db: Connection, idempotency_key: str) -> TopUp | None:
    """What was booked under an idempotency key."""
    return await OF_KEY.one(db, idempotency_key)


async def extra_of(db: Connection, customer_id: int, month: date) -> int:
    """What a month's cap was raised by in all."""
    extra: int = await db.fetchval(
        "select coalesce(sum(extra_nusd), 0)::bigint from kaixu.customer_month where customer_id = $1 and month = $2",
        customer_id,
        month,
    )
    return extra
