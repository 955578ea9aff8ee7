"""The platform's timeline: operators' changes and what the gateway noticed, newest first."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import msgspec

from kaixu.accounts import fields
from kaixu.plugin.errors import Unprocessable
from kaixu.store.pool import database
from kaixu.store.query import Query

from .time_range import Clock, read_clock, read_moment
from .timeline_groups import functions_of, group_of_change, group_of_event, label_of_group
from .values import instant

MAX_TEXT = 200


class TimelineRow(msgspec.Struct, frozen=True):
    """One entry. `source`: 'audit' or 'gateway'; `id` is that source's."""

    source: str
    id: int
    created_at: datetime
    actor: str | None
    action: str | None
    target: str | None
    meta: dict[str, Any]
    level: str | None
    kind: str | None
    function_name: str | None
    app_id: str | None
    http_status: int | None
    request_id: str | None
    message: str | None


class TimelineFilter(msgspec.Struct, frozen=True):
    """Which entries are shown; None: all of them.

    `app_id`: those about a surface, or from an app. `actor` and `target` are whole ones, or the kind before the colon;
    the gateway's own entries have the actor `gateway`, and none has a target of this kind. `action`: in any case.
    """

    source: str | None = None
    app_id: str | None = None
    actor: str | None = None
    action: str | None = None
    target: str | None = None
    customer_id: int | None = None
    request_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class Cursor(msgspec.Struct, frozen=True):
    """The last entry of a page."""

    created_at: datetime
    source: str
    id: int

    @property
    def text(self) -> str:
        """As clients send it back."""
        return f"{self.created_at.astimezone(UTC).isoformat()}~{self.source}~{self.id}"


#: Events of kind 'audit' stand for rows of the audit log, which are here themselves.
TIMELINE = Query(
    TimelineRow,
    """
    select *
      from (
        (select 'audit' as source, a.id, a.created_at, a.actor, a.action, a.target,
                a.meta || jsonb_build_object('before', a.before, 'after', a.after) as meta, null as level, null as kind,
                null as function_name, a.meta ->> 'app_id' as app_id, null::integer as http_status, a.request_id,
                null as message
           from kaixu.audit_event a
          where $7::text is distinct from 'gateway'
            and ($8::text is null or a.actor = $8 or starts_with(a.actor, $8 || ':'))
            and ($9::text is null or lower(a.action) = lower($9))
            and ($10::text is null or a.target = $10 or starts_with(a.target, $10 || ':'))
            and ($11::bigint is null or a.customer_id = $11)
            and ($12::text is null or a.request_id = $12)
            and ($13::timestamptz is null or a.created_at >= $13)
            and ($14::timestamptz is null or a.created_at < $14)
            and ($1::timestamptz is null or (a.created_at, 'audit', a.id) < ($1, $2::text, $3::bigint))
            and ($4::text is null or a.target = 'platform:' || $4)
          order by a.created_at desc, a.id desc
          limit $5)
        union all
        (select 'gateway' as source, e.id, e.created_at, null as actor, coalesce(e.error_code, e.detail) as action,
                case when e.customer_id is not null then 'customer:' || e.customer_id
                     when e.provider is not null then e.provider || coalesce('/' || e.model, '') end as target,
                e.extra as meta, e.level, e.kind, e.function_name, e.app_id, e.http_status, e.request_id,
                e.error_message as message
           from kaixu.gateway_event e
          where $7::text is distinct from 'audit'
            and ($8::text is null or $8 = 'gateway')
            and ($9::text is null or lower(coalesce(e.error_code, e.detail, e.kind)) = lower($9))
            and $10::text is null
            and ($11::bigint is null or e.customer_id = $11)
            and ($12::text is null or e.request_id = $12)
            and ($13::timestamptz is null or e.created_at >= $13)
            and ($14::timestamptz is null or e.created_at < $14)
            and ($1::timestamptz is null or (e.created_at, 'gateway', e.id) < ($1, $2::text, $3::bigint))
            and e.kind <> 'audit'
            and ($4::text is null or e.app_id = $4 or e.function_name = any($6::text[]))
          order by e.created_at desc, e.id desc
          limit $5)
      ) t
     order by t.created_at desc, t.source desc, t.id desc
     limit $5
    """,
)


async def timeline(
    pool: asyncpg.Pool, given: Mapping[str, object], *, limit: int, before: Cursor | None = None
) -> list[TimelineRow]:
    """At most `limit` entries by the fields of a request, newest first; those before a cursor.

    Raises `Unprocessable`, `DatabaseAway`.
    """
    place = (None, None, None) if before is None else (before.created_at, before.source, before.id)
    with database():
        async with pool.acquire() as connection, connection.transaction(readonly=True):
            shown = read_filter(given, await read_clock(connection))
            await connection.execute("set local plan_cache_mode = force_custom_plan")
            return await TIMELINE.all(
                connection,
                *place,
                shown.app_id,
                limit,
                functions_of(shown.app_id),
                shown.source,
                shown.actor,
                shown.action,
                shown.target,
                shown.customer_id,
                shown.request_id,
                shown.since,
                shown.until,
            )


def read_filter(given: Mapping[str, object], clock: Clock) -> TimelineFilter:
    """The filters of a request. Raises `Unprocessable`."""
    zone = ZoneInfo(clock.zone)

    def text(field: str) -> str | None:
        return fields.text(given.get(field), field, MAX_TEXT)

    def moment(field: str, *, is_end: bool) -> datetime | None:
        return read_moment(given[field], field, clock, zone, is_end=is_end) if given.get(field) else None

    source = text("source")
    if source not in (None, "audit", "gateway"):
        raise Unprocessable("`source` must be audit or gateway", field="source")
    since, until = moment("from", is_end=False), moment("to", is_end=True)
    if since is not None and until is not None and since >= until:
        raise Unprocessable("`from` must be before `to`", field="from")
    return TimelineFilter(
        source=source,
        app_id=text("app_id"),
        actor=text("actor"),
        action=text("action"),
        target=text("target"),
        customer_id=fields.bounded(given.get("customer_id"), "customer_id", fields.MOST_ID, least=1),
        request_id=text("request_id"),
        since=since,
        until=until,
    )


def read_cursor(value: str | None) -> Cursor | None:
    """A cursor as a client sends it. Raises `Unprocessable`."""
    if value is None:
        return None
    try:
        moment, source, number = value.split("~")
        created_at = fields.instant(moment, "cursor")
        if created_at is None or source not in ("audit", "gateway") or not 0 <= int(number) < 2**63:
            raise ValueError
        return Cursor(created_at, source, int(number))
    except (ValueError, Unprocessable):
        raise Unprocessable("`cursor` must be the `next_cursor` of a reply", field="cursor") from None


def timeline_row_json(row: TimelineRow, surfaces: Collection[str] = ()) -> dict[str, Any]:
    """One entry, with words for people. `group` is what the entry is about: a surface, a customer, a key …"""
    if row.source == "audit":
        group = group_of_change(row.action or "")
    else:
        group = group_of_event(row.kind, row.function_name, row.app_id, surfaces)
    label = (row.action or row.kind or "").replace("_", " ").replace(".", " ").lower()
    target = (row.target or row.function_name or "").replace(":", " ")
    summary = row.message or " ".join(part for part in (row.actor, label, target) if part)
    return {
        "id": row.id,
        "source": row.source,
        "created_at": instant(row.created_at),
        "actor": row.actor or ("gateway" if row.source == "gateway" else None),
        "action": row.action or row.kind,
        "target": row.target,
        "meta": row.meta,
        "level": row.level or "info",
        "kind": row.kind or "audit",
        "function_name": row.function_name,
        "app_id": row.app_id,
        "http_status": row.http_status,
        "request_id": row.request_id,
        "group": group,
        "groupLabel": label_of_group(group),
        "targetLabel": target,
        "summary": summary[:500],
    }
