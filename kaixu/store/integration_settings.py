"""The settings that customers have of integrations, as JSON objects of the values that somebody has set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from kaixu.plugin.errors import Conflict

from .pool import database
from .query import Connection, Query


class StoredSettings(msgspec.Struct, frozen=True):
    """A customer's settings of one integration."""

    customer_id: int
    integration: str
    settings: dict[str, Any]


class WrittenSettings(msgspec.Struct, frozen=True):
    """What schema/functions/set_integration_settings.sql did. `refused` is a code, or None."""

    refused: str | None
    field: str | None
    settings: dict[str, Any] | None


class FoundCustomer(msgspec.Struct, frozen=True):
    """A customer with a value."""

    customer_id: int


class SharedValue(msgspec.Struct, frozen=True):
    """One value."""

    name: str
    value: Any


OF_INTEGRATION = Query(
    StoredSettings,
    """
    select customer_id, integration, settings
      from kaixu.integration_setting
     where customer_id = $1 and integration = $2
    """,
)

OF_CUSTOMERS = Query(
    StoredSettings,
    """
    select customer_id, integration, settings
      from kaixu.integration_setting
     where customer_id = any ($1::bigint[])
     order by customer_id, integration
    """,
)

WRITE = Query(
    WrittenSettings,
    """
    select refused, field, settings
      from kaixu.set_integration_settings(
               p_customer_id => $1, p_integration => $2, p_changes => $3, p_reset => $4, p_unique => $5)
    """,
)

# Two of them can only have had the value before the field became unique.
WITH_VALUE = Query(
    FoundCustomer,
    """
    select s.customer_id
      from kaixu.integration_setting s
      join kaixu.customer c on c.id = s.customer_id and c.deleted_at is null
     where s.integration = $1 and s.settings @> $2::jsonb
     limit 2
    """,
)


# Of a value that several integrations have, the first one's by name.
SHARED = Query(
    SharedValue,
    """
    select distinct on (e.key) e.key as name, e.value
      from kaixu.integration_setting s
     cross join lateral jsonb_each(s.settings) e
     where s.customer_id = $1 and e.key = any ($2::text[])
     order by e.key, s.integration
    """,
)


async def shared_values(db: Connection, customer_id: int, names: Sequence[str]) -> dict[str, Any]:
    """The values of these names that a customer has at any integration, on or off."""
    return {row.name: row.value for row in await SHARED.all(db, customer_id, list(names))}


async def take_customer_settings(db: Connection, integration: str, fields: Sequence[str]) -> int:
    """Move values of customers' own columns into their settings; for how many customers there was one."""
    moved: int = await db.fetchval(
        "select kaixu.take_customer_settings(p_integration => $1, p_fields => $2)", integration, list(fields)
    )
    return moved


async def stored_settings(db: Connection, customer_id: int, integration: str) -> dict[str, Any]:
    """The values that a customer has. Raises `DatabaseAway`."""
    with database():
        row = await OF_INTEGRATION.one(db, customer_id, integration)
    return {} if row is None else row.settings


async def settings_of_customers(db: Connection, customer_ids: Sequence[int]) -> list[StoredSettings]:
    """The values that these customers have, also of integrations that are off. Raises `DatabaseAway`."""
    with database():
        return await OF_CUSTOMERS.all(db, list(customer_ids))


async def write_settings(
    db: Connection,
    customer_id: int,
    integration: str,
    changes: Mapping[str, Any],
    *,
    reset: Sequence[str] = (),
    unique: Sequence[str] = (),
) -> WrittenSettings:
    """Write values, and remove those of `reset`, in the caller's transaction."""
    written = await WRITE.one(db, customer_id, integration, dict(changes), list(reset), list(unique))
    assert written is not None
    return written


async def customer_with(db: Connection, integration: str, field: str, value: str | int) -> int | None:
    """The customer with a value of a unique field, or None. Raises `Conflict` where there are two, `DatabaseAway`."""
    with database():
        found = await WITH_VALUE.all(db, integration, {field: value})
    if len(found) > 1:
        raise Conflict(f"several customers have the same `{field}`", hint="Tell your operator.", field=field)
    return found[0].customer_id if found else None
