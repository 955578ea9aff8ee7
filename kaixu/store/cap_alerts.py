"""What is told about caps: thresholds that spending has passed, refusals, recovery. Decided in SQL, once each."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import msgspec

from .pool import database
from .query import Connection, Query


class Cap(msgspec.Struct, frozen=True):
    """The cap of a customer (chain 0) or of a chain of keys, in a month."""

    customer_id: int
    chain_id: int
    month: date


class CheckedCap(msgspec.Struct, frozen=True):
    """A cap as it was checked. `next_nusd`: the spending at which its next threshold lies; None: none is left."""

    customer_id: int
    chain_id: int
    month: date
    cap_nusd: int
    next_nusd: int | None


class RefusedCap(msgspec.Struct, frozen=True):
    """A cap that has refused a call, and how high it was then."""

    customer_id: int
    chain_id: int
    month: date
    cap_nusd: int


class Count(msgspec.Struct, frozen=True):
    """How many rows a function has handled."""

    count: int


CHECK = Query(
    CheckedCap,
    """
    select customer_id, chain_id, month, cap_nusd, next_nusd
      from kaixu.check_caps(p_customer_id => $1, p_chain_id => $2, p_month => $3, p_thresholds => $4)
    """,
)
CHECK_NOTED = Query(Count, "select kaixu.check_noted_caps(p_thresholds => $1, p_most => $2) as count")
NOTE_REFUSALS = Query(
    Count,
    """
    select kaixu.note_refusals(p_customer_id => $1, p_chain_id => $2, p_month => $3, p_cap_nusd => $4) as count
    """,
)


async def check_caps(db: Connection, caps: Sequence[Cap], thresholds: Sequence[int]) -> list[CheckedCap]:
    """Raise the alerts of these caps; `thresholds` in percent, for those without their own.

    A cap that does not exist any more has no row in the answer. Raises `DatabaseAway`.
    """
    with database():
        return await CHECK.all(db, *CHECK.columns(caps), list(thresholds))


async def check_noted_caps(db: Connection, thresholds: Sequence[int], *, most: int) -> int:
    """Raise the alerts of caps that were noted; return how many there were. Raises `DatabaseAway`."""
    with database():
        count: int = await db.fetchval(CHECK_NOTED.sql, list(thresholds), most)
    return count


async def note_refusals(db: Connection, refused: Sequence[RefusedCap]) -> int:
    """Raise the alerts of caps that have begun to refuse calls; return how many. Raises `DatabaseAway`."""
    with database():
        count: int = await db.fetchval(NOTE_REFUSALS.sql, *NOTE_REFUSALS.columns(refused))
    return count


async def note_cap(db: Connection, *, customer_id: int, chain_id: int) -> None:
    """Note, in the caller's transaction, that a cap or its thresholds were changed. Chain 0: the customer's own."""
    await db.execute(
        """
        insert into kaixu.cap_check (customer_id, chain_id, month)
        values ($1, $2, date_trunc('month', now() at time zone 'UTC')::date)
        """,
        customer_id,
        chain_id,
    )


async def note_caps_of_keys(db: Connection, customer_id: int) -> None:
    """Note, in the caller's transaction, all keys of a customer that have a cap: they inherit its thresholds."""
    await db.execute(
        """
        insert into kaixu.cap_check (customer_id, chain_id, month)
        select distinct k.customer_id, k.chain_id, date_trunc('month', now() at time zone 'UTC')::date
          from kaixu.virtual_key k
         where k.customer_id = $1 and k.revoked_at is null and k.monthly_cap_nusd is not null
        """,
        customer_id,
    )


async def prune_cap_alerts(db: Connection) -> None:
    """Forget what was told about months before the last one."""
    await db.execute(
        """
        with of_books as (
            delete from kaixu.book_alert
             where month < (date_trunc('month', now() at time zone 'UTC') - interval '1 month')::date
        )
        delete from kaixu.cap_alert
         where month < (date_trunc('month', now() at time zone 'UTC') - interval '1 month')::date
        """
    )
