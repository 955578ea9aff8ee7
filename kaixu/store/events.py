"""Monitor events: written in batches, cut to their columns."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg
import msgspec

from kaixu.ops.events import MonitorEvent


async def write_events(pool: asyncpg.Pool, events: Sequence[MonitorEvent]) -> None:
    """Append `events`."""
    columns = [list(column) for column in zip(*map(msgspec.structs.astuple, events), strict=True)]
    await pool.execute(
        """
        insert into kaixu.gateway_event (kind, level, request_id, function_name, method, path, user_agent, customer_id,
                                         key_id, provider, model, http_status, duration_ms, error_code, error_message,
                                         extra)
        select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
                             $8::bigint[], $9::bigint[], $10::text[], $11::text[], $12::integer[], $13::integer[],
                             $14::text[], $15::text[], $16::jsonb[])
        """,
        *columns,
    )


async def prune_events(pool: asyncpg.Pool, *, days: int) -> int:
    """Delete monitor events older than `days`; return how many."""
    status = await pool.execute(
        "delete from kaixu.gateway_event where created_at < now() - make_interval(days => $1)", days
    )
    return int(status.rsplit(" ", 1)[-1])
