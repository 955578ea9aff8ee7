"""Groups of a customer's keys, with caps of their own. A key chain is in at most one."""

from __future__ import annotations

from datetime import datetime

import msgspec

from .errors import constraints
from .query import Connection, Query


class KeyGroupSettings(msgspec.Struct, frozen=True):
    """The settings of a group. Money is in nano-dollars; None: no limit."""

    name: str
    monthly_cap_nusd: int | None
    day_cap_nusd: int | None
    rpm_limit: int | None
    tpm_limit: int | None


class KeyGroup(KeyGroupSettings, frozen=True):
    """A group with its keys that are not revoked, and this month's figures of all key chains in it."""

    id: int
    customer_id: int
    created_at: datetime
    active_keys: int
    spent_nusd: int
    held_nusd: int


class GroupId(msgspec.Struct, frozen=True):
    """The id of a group."""

    id: int


# The figures move with a key: they are those of the chains that are in the group now, as admission counts them.
SELECT = """
    select g.name, g.monthly_cap_nusd, g.day_cap_nusd, g.rpm_limit, g.tpm_limit, g.id, g.customer_id, g.created_at,
           (select count(*) from kaixu.virtual_key k where k.group_id = g.id and k.revoked_at is null) as active_keys,
           m.spent_nusd, m.held_nusd
      from kaixu.key_group g
     cross join lateral (select coalesce(sum(b.spent_nusd), 0)::bigint as spent_nusd,
                                coalesce(sum(b.held_nusd), 0)::bigint as held_nusd
                           from kaixu.key_month b
                          where b.chain_id in (select k.chain_id from kaixu.virtual_key k where k.group_id = g.id)
                            and not b.has_own_cap
                            and b.month = date_trunc('month', now() at time zone 'UTC')::date) m
"""

GROUP = Query(KeyGroup, SELECT + " where g.id = $1")

GROUPS = Query(KeyGroup, SELECT + " where g.customer_id = $1 order by g.id limit $2")

NEW_GROUP = Query(
    GroupId,
    """
    insert into kaixu.key_group (customer_id, name, monthly_cap_nusd, day_cap_nusd, rpm_limit, tpm_limit)
    values ($1, $2, $3, $4, $5, $6)
    returning id
    """,
)

CHANGED_GROUP = Query(
    GroupId,
    """
    update kaixu.key_group
       set name = $2, monthly_cap_nusd = $3, day_cap_nusd = $4, rpm_limit = $5, tpm_limit = $6
     where id = $1
    returning id
    """,
)


async def key_group(db: Connection, group_id: int) -> KeyGroup | None:
    """One group."""
    return await GROUP.one(db, group_id)


async def groups_of(db: Connection, customer_id: int, *, limit: int) -> list[KeyGroup]:
    """A customer's groups, oldest first."""
    return await GROUPS.all(db, customer_id, limit)


async def locked_group(db: Connection, group_id: int) -> KeyGroup | None:
    """One group, as it stays until the transaction ends. What is locked is its customer's row."""
    await db.execute(
        """
        select from kaixu.customer c
         where c.id = (select g.customer_id from kaixu.key_group g where g.id = $1)
           for no key update
        """,
        group_id,
    )
    return await GROUP.one(db, group_id)


async def insert_group(db: Connection, customer_id: int, settings: KeyGroupSettings) -> KeyGroup:
    """A new group of a customer that the caller has locked. Raises `Conflict` where the name is taken."""
    with constraints():
        made = await NEW_GROUP.one(db, customer_id, *msgspec.structs.astuple(settings))
    assert made is not None
    return await existing_group(db, made.id)


async def update_group(db: Connection, group_id: int, settings: KeyGroupSettings) -> KeyGroup:
    """Write every setting of a group that the caller has locked. Raises `Conflict` where the name is taken."""
    with constraints():
        await CHANGED_GROUP.one(db, group_id, *msgspec.structs.astuple(settings))
    return await existing_group(db, group_id)


async def delete_group(db: Connection, group: KeyGroup) -> None:
    """Delete a group that the caller has locked, and in which no key is left that could be used."""
    await db.execute("update kaixu.virtual_key set group_id = null where group_id = $1", group.id)
    await db.execute(
        "delete from kaixu.limit_use where customer_id = $1 and subject = 'group:' || $2::bigint",
        group.customer_id,
        group.id,
    )
    await db.execute("delete from kaixu.key_group where id = $1", group.id)


async def move_key(db: Connection, customer_id: int, chain_id: int, group_id: int | None) -> None:
    """Put every key of a chain into a group, or into none. The caller has locked the customer's row.

    The month and the day of a group are those of the keys that are in it: the day is summed up again.
    """
    await db.execute("update kaixu.virtual_key set group_id = $2 where chain_id = $1", chain_id, group_id)
    await db.execute(
        "update kaixu.limit_use set day = null where customer_id = $1 and subject like 'group:%'", customer_id
    )


async def existing_group(db: Connection, group_id: int) -> KeyGroup:
    """A group that is known to exist."""
    row = await GROUP.one(db, group_id)
    assert row is not None
    return row
