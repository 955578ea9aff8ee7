"""What an operator may mean by a few characters: a customer, a key, a request, or a collection."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import asyncpg
import msgspec

from kaixu.accounts.fields import MOST_ID
from kaixu.accounts.list_order import pattern_of
from kaixu.plugin.errors import Unprocessable
from kaixu.store.query import Connection, Query

from .attention import dollars
from .snapshot import report_snapshot
from .values import instant

#: The most results of each group.
MOST_OF_A_GROUP = 8

#: How secrets begin: keys, API tokens, keys of other gateways, session tokens. A whole one belongs in no address.
SECRET_STARTS = ("kx_live_", "kx_admin_", "sk-", "eyj")
LEAST_SECRET = 20


class FoundCustomer(msgspec.Struct, frozen=True):
    """A customer."""

    id: int
    email: str
    plan_name: str
    is_active: bool


class FoundKey(msgspec.Struct, frozen=True):
    """A key, by its last four characters."""

    id: int
    customer_id: int
    email: str
    label: str
    key_last4: str
    role: str
    is_revoked: bool


class FoundCall(msgspec.Struct, frozen=True):
    """A billed call of a request."""

    event_id: int
    request_id: str
    customer_id: int
    email: str | None
    provider: str
    model: str
    cost_nusd: int
    created_at: datetime


class FoundEvent(msgspec.Struct, frozen=True):
    """A request that the monitor knows."""

    request_id: str
    customer_id: int | None
    kind: str
    function_name: str | None
    http_status: int | None
    error_code: str | None
    created_at: datetime


class FoundCollection(msgspec.Struct, frozen=True):
    """A collection of a customer."""

    name: str
    customer_id: int
    email: str


# The tables are read from end to end, which is fast enough for 100,000 customers. Lower case by "C" costs least, and is
# right for what addresses consist of.
COLUMNS = "select c.id, c.email, c.plan_name, c.is_active from kaixu.customer c"

CUSTOMER_BY_ID = Query(FoundCustomer, f"{COLUMNS} where c.id = $1 and c.deleted_at is null")

CUSTOMERS = Query(
    FoundCustomer,
    f"""
    {COLUMNS}
     where lower(c.email collate "C") like $1 and c.deleted_at is null
     order by lower(c.email collate "C") not like $2, c.id desc
     limit $3
    """,
)

KEYS = Query(
    FoundKey,
    """
    select k.id, k.customer_id, c.email, k.label, k.key_last4, k.role, k.revoked_at is not null as is_revoked
      from kaixu.virtual_key k
      join kaixu.customer c on c.id = k.customer_id
     where (k.id = $1 or length($2) = 4 and lower(k.key_last4 collate "C") = $2 or lower(k.label collate "C") like $3)
       and c.deleted_at is null
     order by k.id desc
     limit $4
    """,
)

CALLS = Query(
    FoundCall,
    """
    select e.id as event_id, e.request_id, e.customer_id, c.email, e.provider, e.model, e.cost_nusd, e.created_at
      from kaixu.usage_event e
      left join kaixu.customer c on c.id = e.customer_id
     where e.request_id = $1
     order by e.created_at desc, e.id desc
     limit $2
    """,
)

EVENTS = Query(
    FoundEvent,
    """
    select e.request_id, e.customer_id, e.kind, e.function_name, e.http_status, e.error_code, e.created_at
      from kaixu.gateway_event e
     where e.request_id = $1
     order by e.created_at desc, e.id desc
     limit $2
    """,
)

COLLECTIONS = Query(
    FoundCollection,
    """
    select l.name, l.customer_id, c.email
      from kaixu.collection l
      join kaixu.customer c on c.id = l.customer_id
     where lower(l.name collate "C") like $1 and l.deleted_at is null and c.deleted_at is null
     order by lower(l.name collate "C") not like $2, l.name, l.id
     limit $3
    """,
)


class Result(msgspec.Struct, frozen=True):
    """Something that was found. `group`: what it is; the other fields say where it is shown."""

    group: str
    title: str
    detail: str
    customer_id: int | None = None
    key_id: int | None = None
    request_id: str | None = None
    collection: str | None = None


async def operator_search(pool: asyncpg.Pool, text: str) -> list[Result]:
    """What a text may mean, at most `MOST_OF_A_GROUP` of each group. Raises `Unprocessable`, `DatabaseAway`."""
    if len(text) >= LEAST_SECRET and text.lower().startswith(SECRET_STARTS):
        raise Unprocessable(
            "`q` is a whole key, which is a secret",
            hint="Search for its last four characters or its label. If others may have seen this address, rotate it.",
            field="q",
        )
    async with report_snapshot(pool) as connection:
        await connection.execute("set local plan_cache_mode = force_custom_plan")
        return [
            *map(customer_result, await find_customers(connection, text)),
            *map(key_result, await find_keys(connection, text)),
            *await find_requests(connection, text),
            *map(collection_result, await find_collections(connection, text)),
        ]


def number_in(text: str) -> int | None:
    """The id that a text is."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= MOST_ID else None


async def find_customers(db: Connection, text: str) -> list[FoundCustomer]:
    """The customer with this id, then those whose address begins with the text, then those that contain it."""
    pattern, number = pattern_of(text), number_in(text)
    assert pattern is not None
    by_id = [] if number is None else await CUSTOMER_BY_ID.all(db, number)
    by_address = await CUSTOMERS.all(db, pattern, pattern[1:], MOST_OF_A_GROUP)
    return [*by_id, *(row for row in by_address if row not in by_id)][:MOST_OF_A_GROUP]


async def find_keys(db: Connection, text: str) -> list[FoundKey]:
    """Keys with this id or these last four characters, or with the text in their label, newest first."""
    return await KEYS.all(db, number_in(text), text.removeprefix("…").lower(), pattern_of(text), MOST_OF_A_GROUP)


async def find_requests(db: Connection, text: str) -> list[Result]:
    """The calls with this request id; a request without calls by its newest event in the monitor."""
    calls = await CALLS.all(db, text, MOST_OF_A_GROUP)
    if calls:
        return [call_result(call) for call in calls]
    return [event_result(event) for event in await EVENTS.all(db, text, 1)]


async def find_collections(db: Connection, text: str) -> list[FoundCollection]:
    """Collections with the text in their name, those first that begin with it."""
    pattern = pattern_of(text)
    assert pattern is not None
    return await COLLECTIONS.all(db, pattern, pattern[1:], MOST_OF_A_GROUP)


def customer_result(one: FoundCustomer) -> Result:
    """A customer in the list."""
    state = "" if one.is_active else " · not active"
    return Result("Customers", one.email, f"customer {one.id} · {one.plan_name}{state}", one.id)


def key_result(one: FoundKey) -> Result:
    """A key in the list."""
    state = " · revoked" if one.is_revoked else ""
    return Result("Keys", f"{one.label} …{one.key_last4}", f"{one.email} · {one.role}{state}", one.customer_id, one.id)


def call_result(one: FoundCall) -> Result:
    """A call in the list."""
    detail = f"{one.provider}/{one.model} · {dollars(one.cost_nusd)} · {one.email or one.customer_id}"
    return Result(
        "Requests", one.request_id, f"{detail} · {instant(one.created_at)}", one.customer_id, None, one.request_id
    )


def event_result(one: FoundEvent) -> Result:
    """A request that the monitor knows."""
    parts = [one.kind, one.function_name, one.error_code or one.http_status, instant(one.created_at)]
    detail = " · ".join(str(part) for part in parts if part)
    return Result("Requests", one.request_id, detail, one.customer_id, None, one.request_id)


def collection_result(one: FoundCollection) -> Result:
    """A collection in the list."""
    return Result("Collections", one.name, one.email, one.customer_id, collection=one.name)


def results_json(results: list[Result]) -> list[dict[str, Any]]:
    """The results for a reply."""
    return [msgspec.structs.asdict(result) for result in results]
