"""The platform's timeline: operators' changes and what the gateway noticed, newest first."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import asyncpg
import msgspec

from kaixu.accounts import fields
from kaixu.plugin.errors import Unprocessable
from kaixu.store.pool import database
from kaixu.store.query import Query

from .values import instant


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
          where ($1::timestamptz is null or (a.created_at, 'audit', a.id) < ($1, $2::text, $3::bigint))
            and ($4::text is null or a.meta ->> 'app_id' = $4)
          order by a.created_at desc, a.id desc
          limit $5)
        union all
        (select 'gateway' as source, e.id, e.created_at, null as actor, coalesce(e.error_code, e.detail) as action,
                case when e.customer_id is not null then 'customer:' || e.customer_id
                     when e.provider is not null then e.provider || coalesce('/' || e.model, '') end as target,
                e.extra as meta, e.level, e.kind, e.function_name, e.app_id, e.http_status, e.request_id,
                e.error_message as message
           from kaixu.gateway_event e
          where ($1::timestamptz is null or (e.created_at, 'gateway', e.id) < ($1, $2::text, $3::bigint))
            and e.kind <> 'audit'
            and ($4::text is null or e.app_id = $4)
          order by e.created_at desc, e.id desc
          limit $5)
      ) t
     order by t.created_at desc, t.source desc, t.id desc
     limit $5
    """,
)


async def timeline(
    pool: asyncpg.Pool, *, limit: int, app_id: str | None = None, before: Cursor | None = None
) -> list[TimelineRow]:
    """At most `limit` entries, newest first; those before a cursor. Raises `DatabaseAway`."""
    place = (None, None, None) if before is None else (before.created_at, before.source, before.id)
    with database():
        async with pool.acquire() as connection, connection.transaction(readonly=True):
            await connection.execute("set local plan_cache_mode = force_custom_plan")
            return await TIMELINE.all(connection, *place, app_id, limit)


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


def timeline_row_json(row: TimelineRow) -> dict[str, Any]:
    """One entry, with words for people. `group` is what the entry is about: customer, key, topup, gateway …"""
    group = row.action.split("_")[0].lower() if row.source == "audit" and row.action else row.kind or "gateway"
    label = (row.action or row.kind or "").replace("_", " ").lower()
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
        "groupLabel": group.replace("_", " ").capitalize(),
        "targetLabel": target,
        "summary": summary[:500],
    }
