"""Admission and settlement: the two statements on the way of every call, each for a whole group."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from kaixu.ops.call_facts import CallFacts

from .pool import database
from .query import Connection, Query, Rows

#: The `least_nusd` of an operation that is `Free`: no cap and no debt refuses it.
FREE = -1

#: The same for one that requests a minute and a day neither stop nor count.
FREE_UNCOUNTED = -2


class Ask(msgspec.Struct, frozen=True):
    """A request to admit one call. The caller is `key_hash` with `legacy_hash`, or `key_id` for a session.

    `legacy_hash` is more than one hash while KEY_PEPPER is being replaced; see schema/functions/admit_v2.sql.
    `provider` is the lane, `requested_provider` the name that the client used for it. The tags `app_id`, `build_id`
    (the client's program) and `end_user` (whom the client makes the call for) are for reports; None: not given.
    `most_tokens`: how many the call can use, `least_tokens`: with the least output worth granting. `names`: of the
    model, "provider/model", a line each; a key may have limits for any of them.
    `least_nusd`: the least worth granting; `FREE` or `FREE_UNCOUNTED` for an operation that is `Free`, which passes at
    any cap.
    `facts`: what is learned about the call while it runs; the database does not get them.
    """

    ticket: UUID
    key_hash: bytes | None
    legacy_hash: bytes | None
    key_id: int | None
    install_id: str | None
    agent: str | None
    role_rank: int
    operation: str
    provider: str
    requested_provider: str
    model: str
    book: str
    price_id: int
    most_nusd: int
    least_nusd: int
    request_id: str
    app_id: str | None = None
    build_id: str | None = None
    end_user: str | None = None
    most_tokens: int = 0
    least_tokens: int = 0
    names: str = ""
    facts: CallFacts = msgspec.field(default_factory=CallFacts)


class Verdict(msgspec.Struct, frozen=True):
    """What schema/functions/admit_v2.sql decided. `refused` is a code, or None.

    The figures `bound_…` are of a limit that check_limits.sql refused by: requests, tokens or nano-dollars.
    """

    ticket: UUID
    refused: str | None
    scope: str | None
    retry_after_s: int | None
    granted_nusd: int | None
    customer_id: int | None
    key_id: int | None
    chain_id: int | None
    key_last4: str | None
    month: date
    rate_limit: int | None
    rate_remaining: int | None
    customer_cap_nusd: int | None
    customer_spent_nusd: int | None
    customer_held_nusd: int | None
    key_cap_nusd: int | None
    key_spent_nusd: int | None
    key_held_nusd: int | None
    end_user_cap_nusd: int | None = None
    end_user_spent_nusd: int | None = None
    end_user_held_nusd: int | None = None
    admitted_at: datetime | None = None
    granted_tokens: int | None = None
    token_limit: int | None = None
    token_room: int | None = None
    bound_limit: int | None = None
    bound_used: int | None = None
    bound_held: int | None = None


ADMIT = Query(
    Verdict,
    """
    select ticket, refused, scope, retry_after_s, granted_nusd, customer_id, key_id, chain_id, key_last4, month,
           rate_limit, rate_remaining, customer_cap_nusd, customer_spent_nusd, customer_held_nusd, key_cap_nusd,
           key_spent_nusd, key_held_nusd, end_user_cap_nusd, end_user_spent_nusd, end_user_held_nusd, admitted_at,
           granted_tokens, token_limit, token_room, bound_limit, bound_used, bound_held
      from kaixu.admit_v2(
        p_ticket => $1, p_key_hash => $2, p_legacy_hash => $3, p_key_id => $4, p_install_id => $5, p_agent => $6,
        p_role_rank => $7, p_operation => $8, p_provider => $9, p_asked => $10, p_model => $11, p_book => $12,
        p_price_id => $13, p_most_nusd => $14, p_least_nusd => $15, p_request_id => $16, p_app_id => $17,
        p_build_id => $18, p_end_user => $19, p_most_tokens => $20, p_least_tokens => $21, p_names => $22,
        p_owner => $23, p_lifetime_s => $24, p_default_rpm => $25)
    """,
)


#: The same for one call, whose values are not in arrays.
ADMIT_ONE = Query(Verdict, ADMIT.sql.replace("kaixu.admit_v2(", "kaixu.admit_one("))


async def admit(db: Rows, asks: Sequence[Ask], *, owner: UUID, lifetime_s: int, default_rpm: int) -> list[Verdict]:
    """Decide a group, all or nothing for each call; the verdicts are in the order of `asks`.

    Raises `DatabaseAway`: whether the group was admitted is then unknown, so its tickets must be released.
    """
    if len(asks) == 1:
        values = ADMIT_ONE.values(asks[0], without=("facts",), asked="requested_provider")
        with database():
            return await ADMIT_ONE.all(db, *values, owner, lifetime_s, default_rpm)
    columns = ADMIT.columns(asks, without=("facts",), asked="requested_provider")
    with database():
        verdicts = await ADMIT.all(db, *columns, owner, lifetime_s, default_rpm)
    by_ticket = {verdict.ticket: verdict for verdict in verdicts}
    return [by_ticket[ask.ticket] for ask in asks]


class Position(msgspec.Struct, frozen=True):
    """Where in a group, counted from 1."""

    at: int


LOCKED_ASKS = Query(
    Position,
    """
    with requested as (
        select a.at, k.customer_id
          from unnest($1::bigint[], $2::bytea[], $3::bytea[]) with ordinality a (key_id, key_hash, legacy_hash, at)
          join kaixu.virtual_key k
            on k.id = coalesce(a.key_id,
                               (select h.id from kaixu.virtual_key h where h.key_hash = a.key_hash),
                               (select h.id from kaixu.virtual_key h where h.key_hash = substr(a.legacy_hash, 1, 32)),
                               (select h.id from kaixu.virtual_key h where h.key_hash = substr(a.legacy_hash, 33, 32)))
    ), free as materialized (
        select c.id from kaixu.customer c
         where c.id in (select a.customer_id from requested a)
           for no key update skip locked
    )
    select a.at from requested a where not exists (select from free f where f.id = a.customer_id)
    """,
)

LOCKED_CUSTOMERS = Query(
    Position,
    """
    with free as materialized (
        select c.id from kaixu.customer c where c.id = any ($1::bigint[]) for no key update skip locked
    )
    select a.at
      from unnest($1::bigint[]) with ordinality a (customer_id, at)
      join kaixu.customer c on c.id = a.customer_id
     where not exists (select from free f where f.id = a.customer_id)
    """,
)


async def locked_asks(pool: asyncpg.Pool, asks: Sequence[Ask]) -> set[int]:
    """The positions in `asks` whose account is locked just now. Does not wait for locks. Raises `DatabaseAway`."""
    columns = zip(*((ask.key_id, ask.key_hash, ask.legacy_hash) for ask in asks), strict=True)
    with database():
        return {row.at - 1 for row in await LOCKED_ASKS.all(pool, *map(list, columns))}


async def locked_customers(pool: asyncpg.Pool, customers: Sequence[int]) -> set[int]:
    """The positions in `customers` that are locked just now. Does not wait for locks. Raises `DatabaseAway`."""
    with database():
        return {row.at - 1 for row in await LOCKED_CUSTOMERS.all(pool, list(customers))}


class Settlement(msgspec.Struct, frozen=True):
    """How a call ended and what it cost; complete, so that it can be written without its reservation.

    `vendor_cost_nusd` counts only where `vendor_cost_known`. A field of its own, with a default, and not a null: the
    spool is read by gateways of the last release, too. New fields have defaults: one of those may have written it.
    """

    ticket: UUID
    customer_id: int
    key_id: int
    chain_id: int
    month: date
    book: str
    operation: str
    provider: str
    model: str
    price_id: int
    install_id: str | None
    request_id: str
    admitted_at: datetime
    duration_ms: int
    end_reason: str
    usage_source: str
    cost_nusd: int
    vendor_cost_nusd: int
    input_tokens: int
    output_tokens: int
    cached_input_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    units: dict[str, Any] | None
    vendor_cost_known: bool = True
    app_id: str | None = None
    build_id: str | None = None
    end_user: str | None = None


class Settled(msgspec.Struct, frozen=True):
    """The month after a settlement. `first_time` is false for a replay and for a release."""

    ticket: UUID
    first_time: bool
    month: date
    customer_cap_nusd: int
    customer_spent_nusd: int
    customer_held_nusd: int
    key_cap_nusd: int | None
    key_spent_nusd: int
    key_held_nusd: int


SETTLE = Query(
    Settled,
    """
    select ticket, first_time, month, customer_cap_nusd, customer_spent_nusd, customer_held_nusd, key_cap_nusd,
           key_spent_nusd, key_held_nusd
      from kaixu.settle_v2(
        p_ticket => $1, p_customer_id => $2, p_key_id => $3, p_chain_id => $4, p_month => $5, p_book => $6,
        p_operation => $7, p_provider => $8, p_model => $9, p_price_id => $10, p_install_id => $11,
        p_request_id => $12, p_admitted_at => $13, p_duration_ms => $14, p_end_reason => $15, p_usage_source => $16,
        p_cost_nusd => $17, p_vendor_cost_nusd => $18, p_input_tokens => $19, p_output_tokens => $20,
        p_cached_input_tokens => $21, p_cache_write_tokens => $22, p_reasoning_tokens => $23, p_units => $24,
        p_app_id => $25, p_build_id => $26, p_end_user => $27)
    """,
)

#: The same for one call, whose values are not in arrays.
SETTLE_ONE = Query(Settled, SETTLE.sql.replace("kaixu.settle_v2(", "kaixu.settle_one("))

#: Which argument is the vendor cost: null where it is not known.
VENDOR_COST = SETTLE.arguments.index("vendor_cost_nusd")


async def settle(db: Rows, settlements: Sequence[Settlement]) -> list[Settled]:
    """Write a group of settlements durably; a ticket that was settled before is not settled again.

    Raises `DatabaseAway`: settle again later, it is idempotent by ticket.
    """
    if len(settlements) == 1:
        values = SETTLE_ONE.values(settlements[0], without=("vendor_cost_known",))
        if not settlements[0].vendor_cost_known:
            values[VENDOR_COST] = None
        with database():
            return await SETTLE_ONE.all(db, *values)
    columns = SETTLE.columns(settlements, without=("vendor_cost_known",))
    columns[VENDOR_COST] = [one.vendor_cost_nusd if one.vendor_cost_known else None for one in settlements]
    with database():
        settled = await SETTLE.all(db, *columns)
    by_ticket = {one.ticket: one for one in settled}
    return [by_ticket[one.ticket] for one in settlements]


class Reservations(msgspec.Struct, frozen=True):
    """How many reservations a function has changed."""

    count: int


RENEW = Query(
    Reservations,
    "select kaixu.renew(p_owner => $1, p_ticket => $2, p_lifetime_s => $3) as count",
)

RESERVE_AGAIN = Query(
    Reservations,
    """
    select kaixu.reserve_again_v2(
        p_ticket => $1, p_customer_id => $2, p_key_id => $3, p_chain_id => $4, p_month => $5, p_book => $6,
        p_held_nusd => $7, p_operation => $8, p_provider => $9, p_model => $10, p_price_id => $11,
        p_install_id => $12, p_request_id => $13, p_app_id => $14, p_build_id => $15, p_end_user => $16,
        p_admitted_at => $17, p_most_tokens => $18, p_owner => $19, p_lifetime_s => $20) as count
    """,
)

RELEASE = Query(Reservations, "select kaixu.release(p_ticket => $1) as count")


async def renew(pool: asyncpg.Pool, tickets: Sequence[UUID], *, owner: UUID, lifetime_s: int) -> int:
    """Extend the reservations of calls that are still running; return how many were found. Raises `DatabaseAway`."""
    with database():
        return await counted(RENEW, pool, owner, list(tickets), lifetime_s)


class Hold(msgspec.Struct, frozen=True):
    """A running call's reservation, as it was granted."""

    ticket: UUID
    customer_id: int
    key_id: int
    chain_id: int
    month: date
    book: str
    held_nusd: int
    operation: str
    provider: str
    model: str
    price_id: int
    install_id: str | None
    request_id: str
    app_id: str | None = None
    build_id: str | None = None
    end_user: str | None = None
    admitted_at: datetime | None = None
    most_tokens: int = 0


async def reserve_again(pool: asyncpg.Pool, holds: Sequence[Hold], *, owner: UUID, lifetime_s: int) -> int:
    """Restore the reservations that a crash of the database lost; return how many. Raises `DatabaseAway`."""
    columns = RESERVE_AGAIN.columns(holds)
    with database():
        return await counted(RESERVE_AGAIN, pool, *columns, owner, lifetime_s)


class Expired(msgspec.Struct, frozen=True):
    """A reservation that expired, as the reaper ended it."""

    ticket: UUID
    customer_id: int
    key_id: int
    request_id: str
    provider: str
    model: str
    held_nusd: int
    cost_nusd: int


EXPIRE = Query(
    Expired,
    """
    select ticket, customer_id, key_id, request_id, provider, model, held_nusd, cost_nusd
      from kaixu.expire(p_charge => $1, p_most_calls => $2)
    """,
)

#: "reap" in ASCII: the advisory lock that makes one replica the reaper.
REAPER_LOCK = 0x72656170


async def expire(pool: asyncpg.Pool, *, charge: bool, most: int = 500) -> list[Expired]:
    """End reservations that have expired; empty when another replica is at it. Raises `DatabaseAway`."""
    with database():
        async with pool.acquire() as connection, connection.transaction():
            if not await connection.fetchval("select pg_try_advisory_xact_lock($1)", REAPER_LOCK):
                return []
            return await EXPIRE.all(connection, charge, most)


async def release(pool: asyncpg.Pool, tickets: Sequence[UUID]) -> int:
    """Free reservations whose calls never began; return how many there were. Raises `DatabaseAway`."""
    with database():
        return await counted(RELEASE, pool, list(tickets))


async def counted(query: Query[Reservations], db: Connection, *values: object) -> int:
    """How many reservations a statement has changed."""
    count: int = await db.fetchval(query.sql, *values)
    return count
