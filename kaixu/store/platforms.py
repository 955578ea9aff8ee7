"""Operators' notes about surfaces, and the surfaces' documents."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from .query import Connection, Query


class PlatformOps(msgspec.Struct, frozen=True):
    """What operators note about a surface. All but the app id and the times is replaced by each change."""

    app_id: str
    health_status: str = "unreviewed"
    onboarding_stage: str = "untracked"
    lifecycle_status: str = "active"
    owner: str | None = None
    notes: str | None = None
    flags: dict[str, Any] = {}
    updated_by: str | None = None
    last_checked_at: datetime | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


class PlatformState(msgspec.Struct, frozen=True):
    """A surface's document."""

    app_id: str
    state: dict[str, Any]
    updated_by: str
    created_at: datetime
    updated_at: datetime


class Removed(msgspec.Struct, frozen=True):
    """A document that was removed."""

    state: dict[str, Any]


OPS_COLUMNS = (
    "app_id, health_status, onboarding_stage, lifecycle_status, owner, notes, flags, updated_by, last_checked_at, "
    "created_at, updated_at"
)

OPS = Query(PlatformOps, f"select {OPS_COLUMNS} from kaixu.platform_ops where app_id = any($1::text[])")  # noqa: S608

LOCKED_OPS = Query(PlatformOps, f"select {OPS_COLUMNS} from kaixu.platform_ops where app_id = $1 for update")  # noqa: S608

REPLACE_OPS = Query(
    PlatformOps,
    f"""
    insert into kaixu.platform_ops as o (app_id, health_status, onboarding_stage, lifecycle_status, owner, notes, flags,
                                         updated_by, last_checked_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8, coalesce($9::timestamptz, now()))
    on conflict (app_id) do update
       set health_status = excluded.health_status, onboarding_stage = excluded.onboarding_stage,
           lifecycle_status = excluded.lifecycle_status, owner = excluded.owner, notes = excluded.notes,
           flags = excluded.flags, updated_by = excluded.updated_by, last_checked_at = excluded.last_checked_at,
           updated_at = now()
    returning {OPS_COLUMNS}
    """,  # noqa: S608 - constants
)

STATE_COLUMNS = "app_id, state, updated_by, created_at, updated_at"

STATE = Query(PlatformState, f"select {STATE_COLUMNS} from kaixu.platform_state where app_id = $1")  # noqa: S608

LOCKED_STATE = Query(PlatformState, f"select {STATE_COLUMNS} from kaixu.platform_state where app_id = $1 for update")  # noqa: S608

REPLACE_STATE = Query(
    PlatformState,
    f"""
    insert into kaixu.platform_state (app_id, state, updated_by)
    values ($1, $2, $3)
    on conflict (app_id) do update
       set state = excluded.state, updated_by = excluded.updated_by, updated_at = now()
    returning {STATE_COLUMNS}
    """,  # noqa: S608 - constants
)

REMOVE_STATE = Query(Removed, "delete from kaixu.platform_state where app_id = $1 returning state")


async def platform_ops(db: Connection, app_ids: list[str]) -> dict[str, PlatformOps]:
    """The notes about these surfaces; the defaults for those without."""
    noted = {row.app_id: row for row in await OPS.all(db, app_ids)}
    return {app_id: noted.get(app_id) or PlatformOps(app_id) for app_id in app_ids}


async def lock_platform(db: Connection, app_id: str) -> None:
    """Let changes of one surface's rows follow one another, until the transaction ends; there may be no row yet."""
    await db.execute("select pg_advisory_xact_lock(hashtextextended('kaixu.platform ' || $1, 0))", app_id)


async def locked_ops(db: Connection, app_id: str) -> PlatformOps | None:
    """The notes about a surface, locked."""
    return await LOCKED_OPS.one(db, app_id)


async def replace_ops(db: Connection, ops: PlatformOps) -> PlatformOps:
    """Replace the notes about a surface, or make them. Without `last_checked_at` it becomes now."""
    written = await REPLACE_OPS.one(
        db,
        ops.app_id,
        ops.health_status,
        ops.onboarding_stage,
        ops.lifecycle_status,
        ops.owner,
        ops.notes,
        ops.flags,
        ops.updated_by,
        ops.last_checked_at,
    )
    assert written is not None
    return written


async def platform_state(db: Connection, app_id: str) -> PlatformState | None:
    """A surface's document."""
    return await STATE.one(db, app_id)


async def locked_state(db: Connection, app_id: str) -> PlatformState | None:
    """A surface's document, locked."""
    return await LOCKED_STATE.one(db, app_id)


async def replace_state(db: Connection, app_id: str, state: dict[str, Any], updated_by: str) -> PlatformState:
    """Replace a surface's document, or make it."""
    written = await REPLACE_STATE.one(db, app_id, state, updated_by)
    assert written is not None
    return written


async def remove_state(db: Connection, app_id: str) -> bool:
    """Remove a surface's document; whether there was one."""
    return await REMOVE_STATE.one(db, app_id) is not None
