"""The key that asks for its own reports, and how far its role lets it see."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import date
from typing import Any, Literal

import asyncpg
import msgspec

from kaixu.accounts import fields
from kaixu.accounts.devices import ADMIN_ROLES
from kaixu.plugin.errors import CustomerDisabled, Invalid, KeyExpired, RoleTooLow, Unauthenticated, Unprocessable
from kaixu.store.clock import this_month
from kaixu.store.pool import database
from kaixu.store.query import Connection, Query

#: "key": the calls of the key and of those that it replaced; "customer": those of all keys of the account.
Scope = Literal["key", "customer"]

#: A month, without the day that some clients append.
MONTH_CHARACTERS = 7


class Credential(msgspec.Struct, frozen=True):
    """What names the key of a request: its hashes (see `Caller` in kaixu/metering/gate.py), or its id in a session."""

    key_hash: bytes | None
    legacy_hash: bytes | None
    key_id: int | None


class OwnKey(msgspec.Struct, frozen=True):
    """The key of a request, with its customer. Money is in nano-dollars; `key_cap_nusd` None: no cap of its own."""

    key_id: int
    chain_id: int
    key_last4: str
    label: str
    role: str
    key_cap_nusd: int | None
    customer_id: int
    email: str
    plan_name: str
    is_active: bool
    customer_cap_nusd: int
    is_expired: bool

    @property
    def may_see_customer(self) -> bool:
        """Whether the key's role may see all keys of the account."""
        return self.role in ADMIN_ROLES


OWN_KEY = Query(
    OwnKey,
    """
    select k.id as key_id, k.chain_id, k.key_last4, k.label, k.role, k.monthly_cap_nusd as key_cap_nusd,
           k.customer_id, c.email, c.plan_name, c.is_active, c.monthly_cap_nusd as customer_cap_nusd,
           coalesce(k.expires_at <= clock_timestamp(), false) as is_expired
      from kaixu.virtual_key k
      join kaixu.customer c on c.id = k.customer_id
     where case when $3::bigint is not null then k.id = $3
                else k.key_hash in ($1::bytea, substr($2::bytea, 1, 32), substr($2, 33, 32)) end
       and k.revoked_at is null
     order by k.key_hash = $1 desc
     limit 1
    """,
)


@asynccontextmanager
async def own_view(pool: asyncpg.Pool, credential: Credential) -> AsyncIterator[tuple[Connection, OwnKey]]:
    """The database as it is at one moment, and the key. Raises `Unauthenticated`, `CustomerDisabled`."""
    with database():
        async with (
            pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            yield connection, await own_key(connection, credential)


async def own_key(db: Connection, credential: Credential) -> OwnKey:
    """The key of a request. Raises `Unauthenticated`, `CustomerDisabled`."""
    own = await OWN_KEY.one(db, credential.key_hash, credential.legacy_hash, credential.key_id)
    if own is None:
        raise Unauthenticated("Invalid or revoked key")
    if own.is_expired:
        raise KeyExpired
    if not own.is_active:
        raise CustomerDisabled("this account is disabled", hint="Ask your operator.")
    return own


async def find_own_key(pool: asyncpg.Pool, credential: Credential) -> OwnKey:
    """The key of a request. Raises `Unauthenticated`, `CustomerDisabled`."""
    with database():
        return await own_key(pool, credential)


def read_scope(values: Mapping[str, Any], own: OwnKey) -> Scope:
    """`scope`: "key" unless the request says otherwise. Raises `Unprocessable`, `RoleTooLow`."""
    scope = values.get("scope") or "key"
    if scope == "key":
        return "key"
    if scope != "customer":
        raise Unprocessable("`scope` must be key or customer", field="scope")
    if not own.may_see_customer:
        raise RoleTooLow("scope=customer needs a key with the role admin or owner", hint="Leave `scope` out.")
    return "customer"


async def read_month(db: Connection, values: Mapping[str, Any]) -> date:
    """`month`, of which only YYYY-MM counts; the current one by default. Raises `Invalid`."""
    return named_month(values) or await this_month(db)


def named_month(values: Mapping[str, Any]) -> date | None:
    """`month` of a customer's request, of which only YYYY-MM counts. Raises `Invalid`: the contract says 400."""
    given = values.get("month")
    try:
        return fields.month(given[:MONTH_CHARACTERS] if isinstance(given, str) else given, "month")
    except Unprocessable as error:
        raise Invalid(error.message, hint="Send month=YYYY-MM.", field="month") from None
