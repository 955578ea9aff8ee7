"""Plans: the templates of kaixu.yaml, as versions in the database and as values of their customers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import asyncpg
import msgspec

from kaixu.config.plans_section import PlanSection
from kaixu.config.price import factor_text, usd
from kaixu.ops.instants import iso_instant
from kaixu.plugin.errors import DatabaseAway, NotFound
from kaixu.store import plans as store
from kaixu.store.audit import AuditEvent, write_audit
from kaixu.store.plans import ListedPlan, PlanVersion
from kaixu.store.pool import database

log = logging.getLogger(__name__)

__all__ = [
    "ListedPlan",
    "PlanVersion",
    "ShownPlan",
    "apply_plans",
    "find_plan",
    "finish_plans",
    "list_plans",
    "plan_json",
    "version_json",
]

#: How many customers get a new version in one transaction: their calls wait that long.
AT_ONCE = 100

#: How long a start or a reload waits for customers to get new versions, in seconds.
WAIT_S = 10.0

#: Who changes plans, in the audit log.
ACTOR = "kaixu.yaml"

#: How many versions of a plan are shown.
MOST_VERSIONS = 100


class ShownPlan(msgspec.Struct, frozen=True):
    """A plan with its versions, newest first."""

    plan: ListedPlan
    versions: list[PlanVersion]


async def apply_plans(pool: asyncpg.Pool, plans: Mapping[str, PlanSection]) -> list[str]:
    """Store the plans of kaixu.yaml and give their customers the newest version; the names of those that changed.

    What takes longer than `WAIT_S`, or waits for a locked customer, goes on in the background of any gateway
    (`finish_plans`). Raises `DatabaseAway` where nothing was stored.
    """
    with database():
        async with pool.acquire() as connection, connection.transaction():
            changed = await store.write_plans(connection, {name: plan.settings() for name, plan in plans.items()})
            for name in sorted(changed):
                after, *before = await store.versions_of(connection, name, 2)
                await write_audit(
                    connection,
                    AuditEvent(
                        ACTOR,
                        "PLAN_CHANGE",
                        f"plan:{name}",
                        None,
                        before[0].settings if before else None,
                        after.settings,
                        {"version": after.id},
                    ),
                )
    try:
        async with asyncio.timeout(WAIT_S):
            await finish_plans(pool)
    except (TimeoutError, DatabaseAway):
        log.warning("customers get the new versions of their plans in the background")
    return sorted(changed)


async def finish_plans(pool: asyncpg.Pool) -> int:
    """Give every customer the newest version of its plan; how many had an earlier one.

    Interrupted, it is finished by the next call. Raises `DatabaseAway`, `DatabaseBusy`.
    """
    total, last_id = 0, 0
    while True:
        with database():
            taken = await store.take_plans(pool, last_id, AT_ONCE)
        if taken.last_id is None:
            return total
        total, last_id = total + taken.customers, taken.last_id


async def list_plans(pool: asyncpg.Pool) -> list[ListedPlan]:
    """Every plan that kaixu.yaml has, or had while customers took it."""
    with database():
        return await store.plans(pool)


async def find_plan(pool: asyncpg.Pool, name: str) -> ShownPlan:
    """A plan with its versions. Raises `NotFound`."""
    with database():
        plan = next((one for one in await store.plans(pool) if one.name == name), None)
        if plan is None:
            raise NotFound(
                f"kaixu.yaml has no plan `{name[:40]}`",
                hint="`kaixu plans list` shows those that it has; other names of plans are labels.",
                code="UNKNOWN_PLAN",
            )
        return ShownPlan(plan, await store.versions_of(pool, name, MOST_VERSIONS))


def settings_json(settings: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What a version sets, by the names of kaixu.yaml; None: kaixu.yaml has the plan no longer."""
    if settings is None:
        return None
    cap, user_cap = settings.get("monthly_cap_nusd"), settings.get("end_user_cap_nusd")
    day_cap = settings.get("day_cap_nusd")
    return {
        "cap": None if cap is None else usd(cap),
        "rpm": settings.get("rpm_limit"),
        "rpd": settings.get("rpd_limit"),
        "tpm": settings.get("tpm_limit"),
        "day_cap": None if day_cap is None else usd(day_cap),
        "devices": settings.get("max_devices_per_key"),
        "providers": settings.get("allowed_providers"),
        "models": settings.get("allowed_models"),
        "vectors": settings.get("max_vectors"),
        "end_user_cap": None if user_cap is None else usd(user_cap),
        "price_factor": factor_text(settings.get("price_factor_millionths", 1_000_000)),
    }


def plan_json(plan: ListedPlan) -> dict[str, Any]:
    """A plan for lists: its newest version and its customers."""
    return {
        "name": plan.name,
        "version": plan.id,
        "versions": plan.versions,
        "in_file": plan.settings is not None,
        "since": iso_instant(plan.created_at),
        "customers": plan.customers,
        "outdated": plan.outdated if plan.settings is not None else 0,
        "deviating": plan.deviating,
        "settings": settings_json(plan.settings),
    }


def version_json(version: PlanVersion) -> dict[str, Any]:
    """A version of a plan; `settings` null: kaixu.yaml had the plan no longer."""
    return {
        "version": version.id,
        "since": iso_instant(version.created_at),
        "settings": settings_json(version.settings),
    }
