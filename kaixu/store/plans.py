"""Plans: their versions, and their values in the rows of customers and keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from .query import Connection, Query


class PlanVersion(msgspec.Struct, frozen=True):
    """A version of a plan. `settings` None: kaixu.yaml has the plan no longer."""

    id: int
    name: str
    settings: dict[str, Any] | None
    created_at: datetime


class ListedPlan(PlanVersion, frozen=True):
    """The newest version of a plan, and its customers.

    `outdated` of them have an earlier version, `deviating` have values of their own where the plan sets some.
    """

    versions: int
    customers: int
    outdated: int
    deviating: int


class Taken(msgspec.Struct, frozen=True):
    """The last customer that was looked at, and how many were."""

    last_id: int | None
    customers: int


class ChangedPlan(msgspec.Struct, frozen=True):
    """A plan that has a new version."""

    name: str


class KeyFactor(msgspec.Struct, frozen=True):
    """The price factor of a key's customer, in millionths."""

    factor_millionths: int


WRITE_PLANS = Query(ChangedPlan, "select w as name from kaixu.write_plans(p_plans => $1) w")

TAKE_PLANS = Query(Taken, "select last_id, customers from kaixu.take_plans(p_after => $1, p_limit => $2)")

PLANS = Query(
    ListedPlan,
    """
    select n.id, n.name, n.settings, n.created_at, n.versions, count(c.id) as customers,
           count(c.id) filter (where c.plan_version_id is distinct from n.id) as outdated,
           count(c.id) filter (where not n.columns <@ c.from_plan) as deviating
      from (select distinct on (v.name) v.id, v.name, v.settings, v.created_at,
                   count(*) over (partition by v.name) as versions,
                   array(select k from jsonb_object_keys(v.settings) k
                          where k in ('monthly_cap_nusd', 'max_devices_per_key', 'allowed_providers', 'allowed_models',
                                      'max_vectors', 'end_user_cap_nusd', 'tpm_limit', 'day_cap_nusd')) as columns
              from kaixu.plan_version v
             order by v.name, v.id desc) n
      left join kaixu.customer c on c.plan_name = n.name and c.deleted_at is null
     group by n.id, n.name, n.settings, n.created_at, n.versions, n.columns
     order by n.name
    """,
)

VERSIONS = Query(
    PlanVersion,
    "select id, name, settings, created_at from kaixu.plan_version where name = $1 order by id desc limit $2",
)

#: One row for each caller, in their order; an unknown key has the usual prices, and admission refuses it.
FACTORS = Query(
    KeyFactor,
    """
    select coalesce(
               (select c.price_factor_millionths
                  from kaixu.virtual_key k
                  join kaixu.customer c on c.id = k.customer_id
                 where k.id = coalesce(
                           a.key_id,
                           (select k.id from kaixu.virtual_key k where k.key_hash = a.key_hash),
                           (select k.id from kaixu.virtual_key k where k.key_hash = substr(a.legacy_hash, 1, 32)),
                           (select k.id from kaixu.virtual_key k where k.key_hash = substr(a.legacy_hash, 33, 32)))),
               1000000) as factor_millionths
      from unnest($1::bigint[], $2::bytea[], $3::bytea[]) with ordinality a (key_id, key_hash, legacy_hash, at)
     order by a.at
    """,
)


async def write_plans(db: Connection, plans: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Store the plans of kaixu.yaml; the names of those that have a new version."""
    return [row.name for row in await WRITE_PLANS.all(db, plans)]


async def take_plans(db: Connection, after: int, limit: int) -> Taken:
    """Write the newest version of their plans to at most `limit` customers after `after` that have another one."""
    taken = await TAKE_PLANS.one(db, after, limit)
    assert taken is not None
    return taken


async def take_plan(db: Connection, customer_id: int) -> None:
    """Write the values of a customer's plan to its row and its keys. The caller has locked the customer's row."""
    await db.execute("select kaixu.take_plan(p_customer_id => $1)", customer_id)


async def set_from_plan(db: Connection, customer_id: int, columns: Sequence[str]) -> None:
    """Set which columns of a customer have no value of its own. The caller has locked the customer's row."""
    await db.execute("update kaixu.customer set from_plan = $2 where id = $1", customer_id, list(columns))


async def set_key_from_plan(db: Connection, key_id: int, columns: Sequence[str]) -> None:
    """Set which columns of a key have no value of its own. The caller has locked the customer's row."""
    await db.execute("update kaixu.virtual_key set from_plan = $2 where id = $1", key_id, list(columns))


async def plans(db: Connection) -> list[ListedPlan]:
    """The newest version of every plan, by name."""
    return await PLANS.all(db)


async def versions_of(db: Connection, name: str, limit: int) -> list[PlanVersion]:
    """The versions of a plan, newest first."""
    return await VERSIONS.all(db, name, limit)


async def factors(db: Connection, callers: Sequence[tuple[int | None, bytes | None, bytes | None]]) -> list[int]:
    """The price factor for each caller (key id, or hashes), in millionths."""
    key_ids, hashes, legacy = (list(column) for column in zip(*callers, strict=True))
    return [row.factor_millionths for row in await FACTORS.all(db, key_ids, hashes, legacy)]


async def has_factors(db: Connection) -> bool:
    """Whether any customer, or any plan in force, has another price factor than 1."""
    found: bool = await db.fetchval(
        """
        select exists (select from kaixu.customer where price_factor_millionths <> 1000000)
            or exists (select from (select distinct on (v.name) v.settings
                                      from kaixu.plan_version v order by v.name, v.id desc) n
                        where n.settings ? 'price_factor_millionths')
        """
    )
    return found
