"""Monitor events: written in batches."""

from __future__ import annotations

import re
from collections.abc import Sequence
from operator import attrgetter
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec

from kaixu.ops.events import MonitorEvent

from .pool import database
from .query import Connection

#: An event in the order of the columns below.
in_order = attrgetter(
    "shown_kind",
    "level",
    "request_id",
    "function_name",
    "method",
    "path",
    "origin",
    "referer",
    "user_agent",
    "ip_hash",
    "app_id",
    "build_id",
    "customer_id",
    "key_id",
    "provider",
    "model",
    "deployment",
    "http_status",
    "duration_ms",
    "request_bytes",
    "response_bytes",
    "error_code",
    "error_message",
    "upstream_status",
    "upstream_body",
    "detail",
    "extra",
    "created_at",
    "is_unbilled_call",
)

#: A batch is one statement: its events, and the count of the calls among them that have no usage event.
WRITE = """
    with batch as (
        insert into kaixu.monitor_batch (id) values ($30) on conflict do nothing returning id
    ), given as (
        select a.*
          from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
                      $9::text[], $10::text[], $11::text[], $12::text[], $13::bigint[], $14::bigint[], $15::text[],
                      $16::text[], $17::text[], $18::integer[], $19::integer[], $20::bigint[], $21::bigint[],
                      $22::text[], $23::text[], $24::integer[], $25::text[], $26::text[], $27::jsonb[],
                      $28::timestamptz[], $29::boolean[])
               with ordinality
               a (kind, level, request_id, function_name, method, path, origin, referer, user_agent, ip_hash, app_id,
                  build_id, customer_id, key_id, provider, model, deployment, http_status, duration_ms, request_bytes,
                  response_bytes, error_code, error_message, upstream_status, upstream_body, detail, extra, created_at,
                  is_unbilled_call, at)
         where exists (select from batch)
    ), counted as (
        insert into kaixu.refusal_quarter as r (bucket, customer_id, key_id, provider, model, code, calls)
        select date_bin('15 minutes', g.created_at, '2000-01-01'), coalesce(g.customer_id, 0), coalesce(g.key_id, 0),
               coalesce(g.provider, ''), coalesce(g.model, ''), coalesce(g.error_code, ''), count(*)
          from given g
         where g.is_unbilled_call
         group by 1, 2, 3, 4, 5, 6
         order by 1, 2, 3, 4, 5, 6
        on conflict (bucket, customer_id, key_id, provider, model, code) do update set calls = r.calls + excluded.calls
    )
    insert into kaixu.gateway_event (kind, level, request_id, function_name, method, path, origin, referer, user_agent,
                                     ip_hash, app_id, build_id, customer_id, key_id, provider, model, deployment,
                                     http_status, duration_ms, request_bytes, response_bytes, error_code,
                                     error_message, upstream_status, upstream_body, detail, extra, created_at)
    select g.kind, g.level, g.request_id, g.function_name, g.method, g.path, g.origin, g.referer, g.user_agent,
           g.ip_hash, g.app_id, g.build_id, g.customer_id, g.key_id, g.provider, g.model, g.deployment, g.http_status,
           g.duration_ms, g.request_bytes, g.response_bytes, g.error_code, g.error_message, g.upstream_status,
           g.upstream_body, g.detail, g.extra, g.created_at
      from given g
     order by g.at
"""

UNSTORABLE = re.compile("[\0\ud800-\udfff]")
ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{4}|.)")
NULL = "\\u0000"


async def write_events(pool: asyncpg.Pool, events: Sequence[MonitorEvent], batch_id: UUID | None = None) -> None:
    """Append `events`, unless a batch with this id was written before.

    Characters that Postgres cannot store are left out: one event must not stop the others. Raises `DatabaseAway`.
    """
    rows = [[storable(value) for value in in_order(event)] for event in events]
    columns = [list(column) for column in zip(*rows, strict=True)]
    with database():
        await pool.execute(WRITE, *columns, batch_id or uuid4())


def storable(value: Any) -> Any:
    """A value without null characters and lone surrogates, which Postgres holds neither in text nor in jsonb."""
    if isinstance(value, str):
        return UNSTORABLE.sub("", value)
    if isinstance(value, dict):
        # Escapes are taken one by one: `\\u0000` is a backslash and five more characters.
        text = ESCAPE.sub(lambda found: "" if found[0] == NULL else found[0], msgspec.json.encode(value).decode())
        return msgspec.Raw(text.encode())
    return value


async def prune_batch_ids(db: Connection) -> None:
    """Forget the batches of yesterday: no process tries one of them again."""
    await db.execute("delete from kaixu.monitor_batch where written_at < now() - interval '1 day'")
