"""The surfaces that belong to the gateway: what kaixu.yaml says, what operators noted, what looking at them found."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import asyncpg
import msgspec

from kaixu.config.platforms_section import PlatformsSection, SurfaceSection
from kaixu.store.platforms import PlatformOps, platform_ops
from kaixu.store.pool import database
from kaixu.store.query import Connection, Query
from kaixu.store.remote_checks import RemoteCheck, remote_checks

from .values import instant

#: The longest text of a document that a summary shows.
MOST_SUMMARY_TEXT = 500

#: The field of a document that says everything in one sentence.
SUMMARY_TEXT = "summary_text"

#: The fields of documents that are counted over all surfaces.
SEATS, THREADS = "total_students", "thread_count"


class StateSummary(msgspec.Struct, frozen=True):
    """A surface's document without its contents: the fields that its summary shows. Of a list, the length."""

    app_id: str
    summary: dict[str, Any]
    updated_by: str
    created_at: datetime
    updated_at: datetime


SUMMARIES = Query(
    StateSummary,
    """
    select s.app_id,
           coalesce((select jsonb_object_agg(a.field, case jsonb_typeof(s.state -> a.field)
                                                      when 'array' then to_jsonb(jsonb_array_length(s.state -> a.field))
                                                      when 'object' then null
                                                      when 'string' then to_jsonb(left(s.state ->> a.field, $3))
                                                      else s.state -> a.field end)
                       from unnest($1::text[], $2::text[]) a (app_id, field)
                      where a.app_id = s.app_id), '{}') as summary,
           s.updated_by, s.created_at, s.updated_at
      from kaixu.platform_state s
     where s.app_id = any($1::text[])
    """,
)


class Surface(msgspec.Struct, frozen=True):
    """One surface. `state`: its document; `check`: the last look at its health address."""

    app_id: str
    section: SurfaceSection
    ops: PlatformOps
    state: StateSummary | None
    check: RemoteCheck | None


def surface_target(app_id: str, url: str) -> tuple[str, str]:
    """What a look at a surface is about: see `store/remote_checks.py`."""
    return f"surface:{app_id}", url


def surface_targets(platforms: PlatformsSection) -> list[tuple[str, str]]:
    """What to look at."""
    return [
        surface_target(app_id, one.health_url)
        for app_id, one in platforms.surfaces.items()
        if one.health_url is not None
    ]


async def surfaces(pool: asyncpg.Pool, platforms: PlatformsSection) -> list[Surface]:
    """Every surface of kaixu.yaml, in its order. Raises `DatabaseAway`."""
    if not platforms.surfaces:
        return []
    with database():
        async with pool.acquire() as connection, connection.transaction(readonly=True):
            return await read_surfaces(connection, platforms)


async def read_surfaces(db: Connection, platforms: PlatformsSection) -> list[Surface]:
    """The surfaces, on one connection."""
    named = [
        (app_id, field)
        for app_id, one in platforms.surfaces.items()
        for field in dict.fromkeys((*one.summary_fields, SUMMARY_TEXT))
    ]
    summaries = await SUMMARIES.all(
        db, [app_id for app_id, _ in named], [field for _, field in named], MOST_SUMMARY_TEXT
    )
    states = {row.app_id: row for row in summaries}
    ops = await platform_ops(db, list(platforms.surfaces))
    checks = await remote_checks(db, surface_targets(platforms))
    return [
        Surface(app_id, one, ops[app_id], states.get(app_id), checks.get(f"surface:{app_id}"))
        for app_id, one in platforms.surfaces.items()
    ]


async def one_surface_json(pool: asyncpg.Pool, platforms: PlatformsSection, app_id: str) -> dict[str, Any]:
    """One surface, without the gateway's own figures. Raises `DatabaseAway`."""
    alone = platforms.model_copy(update={"surfaces": {app_id: platforms.surfaces[app_id]}})
    [one] = await surfaces(pool, alone)
    return surface_json(one, {}, is_ready=True)


def unread_surfaces(platforms: PlatformsSection) -> list[Surface]:
    """Every surface while the database is away."""
    return [Surface(app_id, one, PlatformOps(app_id), None, None) for app_id, one in platforms.surfaces.items()]


def counts_json(shown: list[dict[str, Any]]) -> dict[str, Any]:
    """The counts of the platform page, from the surfaces as they are shown."""
    ops = [one["platform_ops"] for one in shown]
    return {
        "surfaces": len(shown),
        "connected_remote_docs": sum(one["has_remote_state"] for one in shown),
        "cohort_seats": sum(whole(one["summary"].get(SEATS)) for one in shown),
        "skymail_threads": sum(whole(one["summary"].get(THREADS)) for one in shown),
        "attention_needed": sum(one["health_status"] in ("warning", "critical") for one in ops),
        "onboarding_inflight": sum(one["onboarding_stage"] not in ("complete", "untracked") for one in ops),
        "reviewed_platforms": sum(one["health_status"] != "unreviewed" for one in ops),
        "surfaces_down": sum(one["health"]["state"] == "down" for one in shown),
    }


def whole(value: object) -> int:
    """A count in a summary; 0 for everything that is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else 0


def app_json(app_id: str, section: SurfaceSection) -> dict[str, Any]:
    """A surface as kaixu.yaml has it."""
    return {
        "app_id": app_id,
        "title": section.title,
        "launch_url": section.launch_url,
        "gateway_tab": section.gateway_tab,
        "description": section.description,
        "storage_mode": section.storage_mode,
        "visibility": section.visibility,
    }


def surface_json(one: Surface, figures: Mapping[str, Any], *, is_ready: bool) -> dict[str, Any]:
    """A surface. `figures`: the summary of those whose data are the gateway's own figures."""
    section, state = one.section, one.state
    is_figures = section.storage_mode == "gateway-metrics"
    summary: dict[str, Any] = dict.fromkeys(section.summary_fields)
    if is_figures:
        summary |= figures
    elif state is not None and section.storage_mode == "platform-state":
        summary |= state.summary
    told = summary.pop(SUMMARY_TEXT, None)
    return {
        **app_json(one.app_id, section),
        "summary": summary,
        "summary_text": told if isinstance(told, str) and told else summary_text(summary, section),
        "has_remote_state": state is not None,
        "updated_by": None if state is None else state.updated_by,
        "created_at": None if state is None else instant(state.created_at),
        "updated_at": None if state is None else instant(state.updated_at),
        "storage_status": storage_status(one, is_ready=is_ready),
        "platform_ops": ops_json(one.ops),
        "health": health_json(section, one.check),
    }


def summary_text(summary: Mapping[str, Any], section: SurfaceSection) -> str:
    """A summary in one line; without one, what the surface is."""
    words = {True: "yes", False: "no"}
    parts = [
        f"{name.replace('_', ' ')}: {words[value] if isinstance(value, bool) else value}"
        for name, value in summary.items()
        if value not in (None, "")
    ]
    return ", ".join(parts)[:MOST_SUMMARY_TEXT] or section.description


def storage_status(one: Surface, *, is_ready: bool) -> str:
    """Whether a surface's data are there."""
    mode = one.section.storage_mode
    if mode == "gateway-metrics":
        return "live-telemetry" if is_ready else "config-only"
    if mode != "platform-state":
        return "linked"
    if not is_ready:
        return "db-unconfigured"
    return "ready" if one.state is None else "connected"


def health_json(section: SurfaceSection, check: RemoteCheck | None) -> dict[str, Any]:
    """What the gateway found at the health address."""
    if section.health_url is None or check is None:
        return {"state": "unchecked", "status": None, "ms": None, "error": None, "checked_at": None, "since": None}
    return {
        "state": "up" if check.ok else "down",
        "status": check.status,
        "ms": check.ms,
        "error": check.error,
        "checked_at": instant(check.checked_at),
        "since": instant(check.changed_at),
    }


def ops_json(ops: PlatformOps) -> dict[str, Any]:
    """What operators noted about a surface."""
    return {
        "app_id": ops.app_id,
        "health_status": ops.health_status,
        "onboarding_stage": ops.onboarding_stage,
        "lifecycle_status": ops.lifecycle_status,
        "owner": ops.owner or "",
        "notes": ops.notes or "",
        "flags": ops.flags,
        "updated_by": ops.updated_by,
        "last_checked_at": instant(ops.last_checked_at),
        "created_at": instant(ops.created_at),
        "updated_at": instant(ops.updated_at),
    }
