"""Which calls `user-events` shows: of which keys, of which time, with which filters."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

import msgspec

from kaixu.accounts import fields
from kaixu.plugin.errors import Forbidden, Invalid, NotFound
from kaixu.store.query import Connection, Query

from .call_time import read_call_time
from .own_key import OwnKey, Scope, read_month, read_scope
from .time_range import Clock

MAX_NAME = 300

#: The parameters that calls are filtered by. Each must be equal.
FILTERS = ("provider", "model", "app", "end_user")
ROLLED_UP = {"provider", "model"}


class Chosen(msgspec.Struct, frozen=True):
    """What a request asks for. `chain_id` None: all keys of the account.

    `since` and `until`: of the admission, `until` not included; None: the months as a whole.
    """

    scope: Scope
    chain_id: int | None
    first_month: date
    last_month: date
    since: datetime | None
    until: datetime | None
    filters: dict[str, str]

    @property
    def is_rolled_up(self) -> bool:
        """Whether the roll-ups know it: a whole month, by provider and model at most."""
        return self.since is None and not self.filters.keys() - ROLLED_UP

    def conditions(self, own: OwnKey) -> list[object]:
        """The values of the conditions, in the order of their statements."""
        filters = [self.filters.get(name) for name in FILTERS]
        return [own.customer_id, self.chain_id, self.first_month, self.last_month, self.since, self.until, *filters]


class Chain(msgspec.Struct, frozen=True):
    """The chain of a key."""

    chain_id: int


CHAIN = Query(Chain, "select chain_id from kaixu.virtual_key where id = $1 and customer_id = $2")


async def read_chosen(db: Connection, values: Mapping[str, Any], own: OwnKey, clock: Clock) -> Chosen:
    """What the parameters ask for, as far as the key's role reaches. A date in `to` is the last day.

    Raises `Invalid`, `RoleTooLow`, `Forbidden`, `NotFound`.
    """
    scope = read_scope(values, own)
    chain_id = None if scope == "customer" else own.chain_id
    if values.get("api_key_id") not in (None, ""):
        chain_id = await find_chain(db, fields.identifier(values["api_key_id"], "api_key_id"), own)
    filters = {name: text for name in FILTERS if (text := fields.text(values.get(name), name, MAX_NAME)) is not None}
    time = read_call_time(values, clock)
    if time is None:
        month = await read_month(db, values)
        return Chosen(scope, chain_id, month, month, None, None, filters)
    if values.get("month"):
        raise Invalid("`month` and `from`, `to` exclude each other", hint="Send one or the other.", field="month")
    return Chosen(scope, chain_id, time.first_month, time.last_month, time.since, time.until, filters)


async def find_chain(db: Connection, key_id: int, own: OwnKey) -> int:
    """The chain of the key itself, or of another one of its account. Raises `Forbidden`, `NotFound`."""
    if key_id == own.key_id:
        return own.chain_id
    if not own.may_see_customer:
        raise Forbidden("another key needs a key with the role admin or owner", hint="Leave `api_key_id` out.")
    return await chain_of(db, key_id, own.customer_id)


async def chain_of(db: Connection, key_id: int, customer_id: int) -> int:
    """The chain of a customer's key. Raises `NotFound`, also for a key of another customer."""
    chain = await CHAIN.one(db, key_id, customer_id)
    if chain is None:
        raise NotFound(f"this account has no key {key_id}", code="UNKNOWN_KEY")
    return chain.chain_id
