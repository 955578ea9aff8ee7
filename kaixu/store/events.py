"""Monitor events: written in batches, cut to their columns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import asyncpg
import msgspec

from kaixu.ops.events import MonitorEvent

from .pool import database
from .pruning import delete_in_batches

#: How many old events are deleted in one statement, so that none takes long.
AT_ONCE = 5000

#: An event in the order of the columns below.
in_order = attrgetter(
    "kind",
    "level",
    "request_id",
    "function_name",
    "method",
    "path",
    "user_agent",
    "customer_id",
    "key_id",
    "provider",
    "model",
    "http_status",
    "duration_ms",
    "error_code",
    "error_message",
    "upstream_status",
    "app_id",
    "build_id",
    "origin",
    "referer",
    "ip_hash",
    "deployment",
    "request_bytes",
    "response_bytes",
    "upstream_body",
    "extra",
)

UNSTORABLE = re.compile("[\0\ud800-\udfff]")
ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{4}|.)")
NULL = "\\u0000"


async def write_events(pool: asyncpg.Pool, events: Sequence[MonitorEvent]) -> None:
    """Append `events`. Characters that Postgres cannot store are left out: one event must not stop the others.

    Raises `DatabaseAway`.
    """
    rows = [[storable(value) for value in in_order(event)] for event in events]
    columns = [list(column) for column in zip(*rows, strict=True)]
    with database():
        await pool.execute(
            """
            insert into kaixu.gateway_event (kind, level, request_id, function_name, method, path, user_agent,
                                             customer_id, key_id, provider, model, http_status, duration_ms,
                                             error_code, error_message, upstream_status, app_id, build_id, origin,
                                             referer, ip_hash, deployment, request_bytes, response_bytes,
                                             upstream_body, extra)
            select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
                                 $8::bigint[], $9::bigint[], $10::text[], $11::text[], $12::integer[], $13::integer[],
                                 $14::text[], $15::text[], $16::integer[], $17::text[], $18::text[], $19::text[],
                                 $20::text[], $21::text[], $22::text[], $23::bigint[], $24::bigint[], $25::text[],
                                 $26::jsonb[])
            """,
            *columns,
        )


def storable(value: Any) -> Any:
    """A value without null characters and lone surrogates, which Postgres holds neither in text nor in jsonb."""
    if isinstance(value, str):
        return UNSTORABLE.sub("", value)
    if isinstance(value, dict):
        # Escapes are taken one by one: `\\u0000` is a backslash and five more characters.
        text = ESCAPE.sub(lambda found: "" if found[0] == NULL else found[0], msgspec.json.encode(value).decode())
        return msgspec.Raw(text.encode())
    return value


PRUNE = """
    delete from kaixu.gateway_event
     where id in (select e.id
                    from kaixu.gateway_event e
                   where e.created_at < now() - make_interval(days => $1)
                   order by e.created_at
                   limit $2)
"""


async def prune_events(pool: asyncpg.Pool, *, days: int, at_once: int = AT_ONCE) -> int:
    """Delete monitor events older than `days`, `at_once` in a transaction; return how many."""
    return await delete_in_batches(pool, PRUNE, days, at_once, at_once=at_once)
