"""The audit log as a report: who changed what, from where, and the changed fields before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import msgspec

from kaixu.accounts import fields
from kaixu.plugin.errors import Unprocessable
from kaixu.store.pool import database
from kaixu.store.query import Query

from .table import Report, Table
from .time_range import Clock, read_clock, read_moment
from .values import instant

#: The most entries of a page, and how many there are by default.
MAX_ENTRIES = 1000
ENTRIES = 100

MAX_TEXT = 200


class AuditFilter(msgspec.Struct, frozen=True):
    """Which entries are shown.

    `actor` and `target` are whole ones, or the kind before the colon: `token` finds `token:deploy`.
    """

    actor: str | None = None
    action: str | None = None
    target: str | None = None
    customer_id: int | None = None
    operator_id: int | None = None
    request_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class AuditEntry(msgspec.Struct, frozen=True):
    """One entry of the audit log."""

    id: int
    created_at: datetime
    actor: str
    action: str
    target: str
    customer_id: int | None
    address: str | None
    operator_id: int | None
    session_id: int | None
    token_id: int | None
    request_id: str | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    meta: dict[str, Any]


class AuditRow(msgspec.Struct, frozen=True):
    """An entry as a row of a table: what has a structure is JSON in a cell."""

    id: int
    created_at: datetime
    actor: str
    action: str
    target: str
    customer_id: int | None
    address: str | None
    operator_id: int | None
    session_id: int | None
    token_id: int | None
    request_id: str | None
    changes: str | None
    meta: str | None


AUDIT = Report(
    "audit",
    "The audit log",
    AuditRow,
    [
        ("id", "integer"),
        ("created_at", "instant"),
        ("actor", "text"),
        ("action", "text"),
        ("target", "text"),
        ("customer_id", "integer"),
        ("address", "text"),
        ("operator_id", "integer"),
        ("session_id", "integer"),
        ("token_id", "integer"),
        ("request_id", "text"),
        ("changes", "text"),
        ("meta", "text"),
    ],
)

ENTRY = Query(
    AuditEntry,
    """
    select a.id, a.created_at, a.actor, a.action, a.target, a.customer_id, a.address, a.operator_id, a.session_id,
           a.token_id, a.request_id, a.before, a.after, a.meta
      from kaixu.audit_event a
     where ($1::bigint is null or a.id < $1)
       and ($3::text is null or a.actor = $3 or starts_with(a.actor, $3 || ':'))
       and ($4::text is null or a.action = $4)
       and ($5::text is null or a.target = $5 or starts_with(a.target, $5 || ':'))
       and ($6::bigint is null or a.customer_id = $6)
       and ($7::bigint is null or a.operator_id = $7)
       and ($8::text is null or a.request_id = $8)
       and ($9::timestamptz is null or a.created_at >= $9)
       and ($10::timestamptz is null or a.created_at < $10)
     order by a.id desc
     limit $2
    """,
)


class AuditPage(msgspec.Struct, frozen=True):
    """Entries, newest first, and where the next page begins; None: there is none."""

    entries: Sequence[AuditEntry]
    next_cursor: str | None
    zone: str


def read_filter(given: Mapping[str, object], clock: Clock) -> AuditFilter:
    """The filters of a request. Raises `Unprocessable`."""
    zone = ZoneInfo(clock.zone)

    def text(field: str) -> str | None:
        return fields.text(given.get(field), field, MAX_TEXT)

    def number(field: str) -> int | None:
        return fields.bounded(given.get(field), field, fields.MOST_ID, least=1)

    def moment(field: str, *, is_end: bool) -> datetime | None:
        return read_moment(given[field], field, clock, zone, is_end=is_end) if given.get(field) else None

    action = text("action")
    return AuditFilter(
        actor=text("actor"),
        action=None if action is None else action.upper(),
        target=text("target"),
        customer_id=number("customer_id"),
        operator_id=number("operator_id"),
        request_id=text("request_id"),
        since=moment("since", is_end=False),
        until=moment("until", is_end=True),
    )


async def audit_page(pool: asyncpg.Pool, given: Mapping[str, object]) -> AuditPage:
    """A page of the audit log by the fields of a request; `cursor` is the `next_cursor` of the page before.

    Raises `Unprocessable`, `DatabaseAway`.
    """
    limit = fields.bounded(given.get("limit"), "limit", MAX_ENTRIES, least=1) or ENTRIES
    before_id = read_cursor(given.get("cursor"))
    with database():
        async with pool.acquire() as connection, connection.transaction(readonly=True):
            clock = await read_clock(connection)
            shown = read_filter(given, clock)
            # Planned for these values, so that filters that are not used cost nothing and the others use indexes.
            await connection.execute("set local plan_cache_mode = force_custom_plan")
            rows = await ENTRY.all(
                connection,
                before_id,
                limit + 1,
                shown.actor,
                shown.action,
                shown.target,
                shown.customer_id,
                shown.operator_id,
                shown.request_id,
                shown.since,
                shown.until,
            )
    page = rows[:limit]
    return AuditPage(page, str(page[-1].id) if len(rows) > limit else None, clock.zone)


def read_cursor(value: object) -> int | None:
    """The number of the last entry of the page before. Raises `Unprocessable`."""
    try:
        return fields.bounded(value, "cursor", fields.MOST_ID, least=1)
    except Unprocessable:
        raise Unprocessable("`cursor` must be the `next_cursor` of a reply", field="cursor") from None


def changes_of(entry: AuditEntry) -> dict[str, list[Any]]:
    """The fields that differ, with their values before and after."""
    before, after = entry.before or {}, entry.after or {}
    names = dict.fromkeys((*before, *after))
    return {name: [before.get(name), after.get(name)] for name in names if before.get(name) != after.get(name)}


def entry_json(entry: AuditEntry) -> dict[str, Any]:
    """An entry. `actor_kind` is the part of the actor before the colon."""
    plain: dict[str, Any] = msgspec.to_builtins(entry)
    return plain | {
        "created_at": instant(entry.created_at),
        "actor_kind": entry.actor.partition(":")[0],
        "changes": changes_of(entry),
    }


def page_json(page: AuditPage) -> dict[str, Any]:
    """A page of the audit log."""
    return {"ok": True, "entries": [entry_json(entry) for entry in page.entries], "next_cursor": page.next_cursor}


def audit_table(page: AuditPage) -> Table[AuditRow]:
    """A page as a table, for CSV and HTML."""
    return Table(AUDIT, [row_of_entry(entry) for entry in page.entries], page.zone, next_cursor=page.next_cursor)


def row_of_entry(entry: AuditEntry) -> AuditRow:
    """An entry as a row."""
    changes = changes_of(entry)
    own = {name: getattr(entry, name) for name in AuditRow.__struct_fields__ if name not in ("changes", "meta")}
    return AuditRow(
        **own,
        changes=msgspec.json.encode(changes).decode() if changes else None,
        meta=msgspec.json.encode(entry.meta).decode() if entry.meta else None,
    )
