"""Change what operators note about a surface, and a surface's document. Each change is in the audit log."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import asyncpg
import msgspec

from kaixu.config.mistakes import did_you_mean
from kaixu.config.platforms_section import PlatformsSection, SurfaceSection
from kaixu.ops.change_origin import acting
from kaixu.plugin.errors import Invalid, TooLarge, Unprocessable
from kaixu.store import platforms as store
from kaixu.store.audit import AuditEvent, row_of, write_audit
from kaixu.store.platforms import PlatformOps, PlatformState
from kaixu.store.pool import database

from . import fields

__all__ = ["PlatformOps", "PlatformState"]

#: The values that an operator may choose from.
HEALTH = ("unreviewed", "healthy", "warning", "critical")
ONBOARDING = ("untracked", "queued", "in-progress", "blocked", "complete")
LIFECYCLE = ("active", "maintenance", "paused", "rebuild")

MOST_OWNER = 200
MOST_NOTES = 4000
MOST_FLAGS = 50
MOST_FLAG_NAME = 80
MOST_FLAG_TEXT = 500

#: The longest document of a surface, as JSON.
MOST_STATE_BYTES = 256 * 1024

#: The deepest document.
MOST_DEPTH = 100

#: jsonb has no larger numbers as text than this; whole numbers beyond 2^53 are not the same in every client.
MOST_WHOLE = 2**63 - 1

ENCODER = msgspec.json.Encoder()


def surface(platforms: PlatformsSection, app_id: object) -> tuple[str, SurfaceSection]:
    """The app id and the section of a surface. Raises `Invalid` for one that kaixu.yaml does not name."""
    name = fields.text(app_id, "app_id", fields.MOST_NAME)
    if name is None:
        raise Invalid("`app_id` is missing", field="app_id")
    section = platforms.surfaces.get(name)
    if section is None:
        raise Invalid(
            f"there is no surface `{name}`{did_you_mean(name, platforms.surfaces)}",
            hint="Surfaces are listed in kaixu.yaml, under `platforms.surfaces`.",
            code="UNKNOWN_SURFACE",
            field="app_id",
        )
    return name, section


async def replace_ops(
    pool: asyncpg.Pool, platforms: PlatformsSection, given: Mapping[str, object], *, actor: str, request_id: str
) -> PlatformOps:
    """Replace what operators note about a surface: what is not given gets its default.

    Raises `Invalid` for an unknown surface or field, `Unprocessable` for a value.
    """
    fields.require_known(given, OPS_FIELDS)
    ops = read_ops(surface(platforms, given.get("app_id"))[0], given, actor)
    with database():
        async with pool.acquire() as connection, connection.transaction():
            await store.lock_platform(connection, ops.app_id)
            before = await store.locked_ops(connection, ops.app_id)
            after = await store.replace_ops(connection, ops)
            await write_audit(
                connection,
                AuditEvent(
                    actor,
                    "platform_ops.upsert",
                    f"platform:{ops.app_id}",
                    request_id,
                    None if before is None else row_of(before),
                    row_of(after),
                    {"app_id": ops.app_id},
                ),
            )
    return after


OPS_FIELDS = (
    "app_id", "health_status", "onboarding_stage", "lifecycle_status", "owner", "notes", "flags", "last_checked_at",
)  # fmt: skip


def read_ops(app_id: str, given: Mapping[str, object], actor: str) -> PlatformOps:
    """The notes of a request."""
    return PlatformOps(
        app_id,
        choice(given.get("health_status"), "health_status", HEALTH),
        choice(given.get("onboarding_stage"), "onboarding_stage", ONBOARDING),
        choice(given.get("lifecycle_status"), "lifecycle_status", LIFECYCLE),
        fields.text(given.get("owner"), "owner", MOST_OWNER),
        lines(given.get("notes"), "notes", MOST_NOTES),
        flags(given.get("flags"), "flags"),
        updated_by=acting(actor),
        last_checked_at=fields.instant(given.get("last_checked_at"), "last_checked_at"),
    )


def choice(value: object, field: str, choices: tuple[str, ...]) -> str:
    """One of `choices`; null and blank text are the first one."""
    name = fields.text(value, field, fields.MOST_NAME)
    if name is None:
        return choices[0]
    if name not in choices:
        raise Unprocessable(f"`{field}` must be one of {', '.join(choices)}", field=field)
    return name


def lines(value: object, field: str, most: int) -> str | None:
    """Text that may have several lines, trimmed; None for null and blank."""
    if value is not None and not isinstance(value, str):
        raise Unprocessable(f"`{field}` must be text", field=field)
    written = (value or "").replace("\r\n", "\n").strip()
    if len(written) > most:
        raise Unprocessable(f"`{field}` is longer than {most} characters", field=field)
    if not all(line.isprintable() for part in written.split("\n") for line in part.split("\t")):
        raise Unprocessable(f"`{field}` holds characters that cannot be shown", field=field)
    return written or None


def flags(value: object, field: str) -> dict[str, Any]:
    """Plain values by name; {} for null."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Unprocessable(f"`{field}` must be an object", field=field)
    if len(value) > MOST_FLAGS:
        raise Unprocessable(f"`{field}` has more than {MOST_FLAGS} entries", field=field)
    for name, one in value.items():
        if not name.isprintable() or not 1 <= len(name) <= MOST_FLAG_NAME:
            raise Unprocessable(f"a name in `{field}` has not 1 to {MOST_FLAG_NAME} characters", field=field)
        if isinstance(one, list | dict) or (isinstance(one, str) and len(one) > MOST_FLAG_TEXT):
            raise Unprocessable(f"`{field}.{name}` must be short text, a number, true, false or null", field=field)
        if isinstance(one, int | float) and not abs(one) <= MOST_WHOLE:
            raise Unprocessable(f"`{field}.{name}` is too large a number", field=field)
    return value


async def replace_state(
    pool: asyncpg.Pool,
    platforms: PlatformsSection,
    app_id: object,
    given: Mapping[str, object],
    *,
    actor: str,
    request_id: str,
) -> PlatformState:
    """Replace a surface's document. Raises `Invalid`, `Unprocessable`, `TooLarge`.

    The audit log has the document's size and digest only: it may hold personal data, and the log is never changed.
    """
    fields.require_known(given, ("state",))
    name, section = surface(platforms, app_id)
    if section.storage_mode != "platform-state":
        raise Invalid(
            f"surface `{name}` keeps no document here",
            hint="Set its `storage_mode` in kaixu.yaml to platform-state.",
            field="app_id",
        )
    state = read_state(given.get("state"))
    with database():
        async with pool.acquire() as connection, connection.transaction():
            await store.lock_platform(connection, name)
            before = await store.locked_state(connection, name)
            after = await store.replace_state(connection, name, state, acting(actor))
            await write_audit(
                connection,
                AuditEvent(
                    actor,
                    "platform_state.upsert",
                    f"platform:{name}",
                    request_id,
                    None if before is None else digest_of(before.state),
                    digest_of(after.state),
                    {"app_id": name},
                ),
            )
    return after


def read_state(value: object) -> dict[str, Any]:
    """A document as a request has it."""
    if value is None:
        raise Invalid("`state` is missing", field="state")
    if not isinstance(value, dict):
        raise Unprocessable("`state` must be an object", field="state")
    if not is_plain(value, MOST_DEPTH):
        raise Unprocessable(
            f"`state` is nested deeper than {MOST_DEPTH}, or has a number that is too large", field="state"
        )
    size = len(ENCODER.encode(value))
    if size > MOST_STATE_BYTES:
        raise TooLarge(f"`state` has {size} bytes; at most {MOST_STATE_BYTES} are stored", field="state")
    return value


def is_plain(value: object, depth: int) -> bool:
    """Whether a value is not too deep, and its numbers are ones that come back as they were."""
    if isinstance(value, dict):
        return depth > 0 and all(is_plain(one, depth - 1) for one in value.values())
    if isinstance(value, list):
        return depth > 0 and all(is_plain(one, depth - 1) for one in value)
    return not isinstance(value, int | float) or isinstance(value, bool) or abs(value) < float("inf")


def digest_of(state: dict[str, Any]) -> dict[str, Any]:
    """What the audit log keeps of a document."""
    plain = msgspec.json.encode(state, order="sorted")
    return {"bytes": len(plain), "sha256": hashlib.sha256(plain).hexdigest()}


async def remove_state(
    pool: asyncpg.Pool, platforms: PlatformsSection, app_id: object, *, actor: str, request_id: str
) -> tuple[str, bool]:
    """Remove a surface's document; its app id, and whether there was one.

    Also that of a surface which kaixu.yaml no longer names. Raises `Invalid` for one that nobody knows.
    """
    name = fields.text(app_id, "app_id", fields.MOST_NAME) or ""
    with database():
        async with pool.acquire() as connection, connection.transaction():
            await store.lock_platform(connection, name)
            before = await store.locked_state(connection, name)
            if before is None:
                return surface(platforms, app_id)[0], False
            await store.remove_state(connection, name)
            await write_audit(
                connection,
                AuditEvent(
                    actor,
                    "platform_state.delete",
                    f"platform:{name}",
                    request_id,
                    digest_of(before.state),
                    None,
                    {"app_id": name},
                ),
            )
    return name, True


async def ops_of(pool: asyncpg.Pool, platforms: PlatformsSection) -> dict[str, PlatformOps]:
    """The notes about every surface, by app id."""
    with database():
        return await store.platform_ops(pool, list(platforms.surfaces))


async def state_of(pool: asyncpg.Pool, platforms: PlatformsSection, app_id: object) -> PlatformState | None:
    """A surface's document, if it has one. Raises `Invalid` for an unknown surface."""
    name, _ = surface(platforms, app_id)
    with database():
        return await store.platform_state(pool, name)
