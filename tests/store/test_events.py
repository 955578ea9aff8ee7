"""Monitor events: one that cannot be written stops no other, old ones go in bites."""

from __future__ import annotations

import asyncpg
import pytest

from kaixu.ops.events import Monitor, MonitorEvent
from kaixu.plugin.errors import DatabaseAway
from kaixu.store.events import prune_events, write_events


async def test_characters_that_postgres_cannot_store_are_left_out(pool: asyncpg.Pool) -> None:
    odd = MonitorEvent(
        kind="error",
        path="/api/\x00x\ud800",
        error_message="\x00",
        extra={"null": "a\x00b", "text": "a\\u0000b", "deep": [{"\x00name": "\\\x00\\"}]},
    )
    await write_events(pool, [MonitorEvent(kind="first"), odd])
    [_, row] = await pool.fetch("select path, error_message, extra from kaixu.gateway_event order by id")
    assert (row["path"], row["error_message"]) == ("/api/x", "")
    assert row["extra"] == {"null": "ab", "text": "a\\u0000b", "deep": [{"name": "\\\\"}]}


async def test_an_event_that_is_malformed_goes_alone(pool: asyncpg.Pool) -> None:
    monitor = Monitor(lambda events: write_events(pool, events))
    for event in (MonitorEvent(kind="before"), MonitorEvent(kind="odd", http_status=2**40), MonitorEvent(kind="after")):
        monitor.record(event)
    assert await monitor.flush()
    kinds = [row[0] for row in await pool.fetch("select kind from kaixu.gateway_event order by id")]
    assert kinds == ["before", "after"]


async def test_events_wait_for_a_database_that_is_away(pool: asyncpg.Pool) -> None:
    away = True

    async def write(events: object) -> None:
        if away:
            raise DatabaseAway("the database does not answer")
        await write_events(pool, events)  # type: ignore[arg-type]

    monitor = Monitor(write)
    monitor.record(MonitorEvent(kind="one"))
    assert not await monitor.flush()
    away = False
    assert await monitor.flush()
    assert await pool.fetchval("select count(*) from kaixu.gateway_event") == 1


@pytest.mark.parametrize("at_once", [1, 3, 7, 5000])
async def test_old_events_go_in_bites_and_young_ones_stay(pool: asyncpg.Pool, at_once: int) -> None:
    await write_events(pool, [MonitorEvent(kind=f"event {at}") for at in range(10)])
    await pool.execute("update kaixu.gateway_event set created_at = now() - interval '31 days' where id <= 7")
    assert await prune_events(pool, days=30, at_once=at_once) == 7
    assert await pool.fetchval("select min(id) from kaixu.gateway_event") == 8
