"""Credits of an integration's transaction: gathered while it runs, and booked last."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec

from kaixu.plugin.errors import Conflict, KaixuError, NotFound, Unprocessable
from kaixu.plugin.money import MOST_CREDITS, Balance, CreditRequest, credit_request

from .pool import database
from .query import Connection, Query
from .rights import Rights

#: The most credits of a month, either way, in nano-dollars: far from the edge of 64 bits, where sums would fail.
MOST_EXTRA_NUSD = 10**18


class BookedCredit(msgspec.Struct, frozen=True):
    """What schema/functions/credit.sql did. `refused` is a code, or None: then all others are set."""

    customer_id: int
    refused: str | None
    applied: bool
    month: date | None
    extra_nusd: int | None


class CustomerBalance(msgspec.Struct, frozen=True):
    """The figures of a month; see `Balance`. `credited_nusd`: without what was taken back."""

    month: date
    cap_nusd: int
    credit_nusd: int
    credited_nusd: int
    carried_nusd: int
    spent_nusd: int
    held_nusd: int


NOTE = """
    with forgotten as (
        delete from kaixu.plugin_credit
         where made_at not between clock_timestamp() - interval '5 minutes' and clock_timestamp() + interval '5 minutes'
    )
    insert into kaixu.plugin_credit (id, integration, caller, customers, amounts_nusd, keys, months, sources,
                                     references_, most_nusd, request_id)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
"""

#: Books what was noted, as the role of an integration.
PLUGIN_BOOKS = """
    select customer_id, refused, applied, month, extra_nusd from kaixu__plugin.credit(p_note => $1)
"""

#: Books as the gateway, for an integration without tables.
BOOK = Query(
    BookedCredit,
    """
    select customer_id, refused, applied, month, extra_nusd
      from kaixu.apply_credits(
               p_integration => $1, p_caller => $2, p_customer_id => $3, p_amount_nusd => $4, p_key => $5,
               p_month => $6, p_source => $7, p_reference => $8, p_most_nusd => $9, p_request_id => $10)
    """,
)

BALANCE = Query(
    CustomerBalance,
    """
    select x.month, c.monthly_cap_nusd as cap_nusd, m.extra_nusd as credit_nusd, t.credited_nusd, t.carried_nusd,
           m.spent_nusd, m.held_nusd
      from kaixu.customer c
     cross join (select date_trunc('month', now() at time zone 'UTC')::date as month) x
     cross join lateral (select coalesce(sum(b.extra_nusd), 0)::bigint as extra_nusd,
                                coalesce(sum(b.spent_nusd), 0)::bigint as spent_nusd,
                                coalesce(sum(b.held_nusd), 0)::bigint as held_nusd
                           from kaixu.customer_month b
                          where b.customer_id = c.id and b.month = x.month and not b.has_own_cap) m
     cross join lateral (select coalesce(sum(greatest(p.amount_nusd, 0)), 0)::bigint as credited_nusd,
                                coalesce(sum(p.amount_nusd) filter (where p.source = 'rollover'), 0)::bigint
                                    as carried_nusd
                           from kaixu.topup p
                          where p.customer_id = c.id and p.month = x.month) t
     where c.id = $1 and c.deleted_at is null
    """,
)


class GatheredCredits:
    """The credits of one transaction."""

    def __init__(self, rights: Rights) -> None:
        self.rights = rights
        self.requests: list[CreditRequest] = []

    def add(
        self,
        customer_id: int,
        amount_nusd: int,
        *,
        key: str,
        month: str | None,
        source: str | None,
        reference: str | None,
    ) -> None:
        """Gather a credit. Raises `ValueError`, `TypeError`."""
        self.rights.require("credit")
        one = credit_request(
            self.rights.integration,
            customer_id,
            amount_nusd,
            key=key,
            month=month,
            source=source,
            reference=reference,
        )
        self.rights.require_customer(customer_id)
        if len(self.requests) >= MOST_CREDITS:
            raise ValueError(f"a transaction books at most {MOST_CREDITS} credits")
        self.requests.append(one)

    @property
    def customers(self) -> set[int]:
        """Whom they are for."""
        return {one.customer_id for one in self.requests}

    def columns(self) -> tuple[Any, ...]:
        """The credits as parallel arrays."""
        requests = self.requests
        return (
            [one.customer_id for one in requests],
            [one.amount_nusd for one in requests],
            [one.key for one in requests],
            [one.month for one in requests],
            [one.source for one in requests],
            [one.reference for one in requests],
            MOST_EXTRA_NUSD,
            self.rights.request_id,
        )

    async def note(self, pool: asyncpg.Pool) -> UUID:
        """Let the integration's role book the credits once, within a minute; the note's id. Raises `DatabaseAway`."""
        note_id = uuid4()
        with database():
            await pool.execute(NOTE, note_id, self.rights.integration, self.rights.customer_id, *self.columns())
        return note_id

    async def book(self, db: Connection) -> None:
        """Book them in the gateway's own transaction. Raises as `require_booked`."""
        if self.requests:
            require_booked(await BOOK.all(db, self.rights.integration, self.rights.customer_id, *self.columns()))


def require_booked(booked: Sequence[BookedCredit]) -> None:
    """Raises `NotFound`, `Conflict` or `Unprocessable` for the first credit that was refused."""
    for one in booked:
        if one.refused is not None:
            raise refusal_of(one)


def refusal_of(one: BookedCredit) -> KaixuError:
    """The error for a credit that was refused."""
    match one.refused:
        case "UNKNOWN_CUSTOMER":
            return NotFound(f"there is no customer {one.customer_id}", code="UNKNOWN_CUSTOMER")
        case "KEY_USED":
            return Conflict(
                "the key of this credit was used for another customer or amount",
                hint="Use a key of its own for each credit.",
                code="IDEMPOTENCY_KEY_USED",
            )
        case "MONTH_TOO_FAR":
            return Unprocessable("a credit can be booked for a month up to two years ahead", field="month")
        case _:
            return Unprocessable(
                "the credits of one month are at most $1,000,000,000 in all, either way", field="amount_nusd"
            )


async def balance_of(pool: asyncpg.Pool, customer_id: int) -> Balance:
    """What a customer has in the present month, after what is to be carried into it. Raises `NotFound`."""
    with database():
        await carry_now(pool, customer_id)
        row = await BALANCE.one(pool, customer_id)
    if row is None:
        raise NotFound(f"there is no customer {customer_id}", code="UNKNOWN_CUSTOMER")
    left = row.credit_nusd - min(max(0, row.spent_nusd - row.cap_nusd), row.credited_nusd)
    room = row.cap_nusd + row.credit_nusd - row.spent_nusd - row.held_nusd
    return Balance(
        month=f"{row.month:%Y-%m}",
        cap_nusd=row.cap_nusd,
        credit_nusd=row.credit_nusd,
        carried_nusd=row.carried_nusd,
        spent_nusd=row.spent_nusd,
        held_nusd=row.held_nusd,
        available_nusd=0 if row.credit_nusd < 0 else max(0, room),
        unspent_nusd=max(0, left),
        debt_nusd=max(0, -left),
    )


async def carry_now(db: Connection, customer_id: int) -> None:
    """Carry credit and debt into the present month, if no call has done it yet."""
    await db.execute("select kaixu.carry_now(p_customer_id => $1)", customer_id)


async def sweep_credit(db: Connection, *, most: int) -> int:
    """Carry credit and debt of customers that have not called in the month; of how many."""
    count: int = await db.fetchval("select kaixu.sweep_credit(p_most => $1)", most)
    return count


async def rolls_over(db: Connection) -> bool:
    """Whether unspent credit is carried into the next month."""
    return bool(await db.fetchval("select rolls_over from kaixu.credit_rule"))


async def set_rollover(db: Connection, *, rolls_over: bool) -> None:
    """Whether unspent credit is carried into the next month."""
    await db.execute("update kaixu.credit_rule set rolls_over = $1 where rolls_over <> $1", rolls_over)
