"""Monitor events: one bad event does not stop the others; old events are deleted in batches."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import asyncpg

from kaixu.ops.events import MAX_QUEUED, Monitor, MonitorEvent
from kaixu.plugin.errors import DatabaseAway
from kaixu.store.events import write_events


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
    monitor = Monitor(lambda events, _: write_events(pool, events))
    for event in (MonitorEvent(kind="before"), MonitorEvent(kind="odd", http_status=2**40), MonitorEvent(kind="after")):
        monitor.record(event)
    assert await monitor.flush()
    kinds = [row[0] for row in await pool.fetch("select detail from kaixu.gateway_event order by id")]
    assert kinds == ["before", "after", "dropped"]


async def test_events_wait_for_a_database_that_is_away(pool: asyncpg.Pool) -> None:
    away = True

    async def write(events: object, batch_id: object = None) -> None:
        if away:
            raise DatabaseAway("the database does not answer")
        await write_events(pool, events)  # type: ignore[arg-type]

    monitor = Monitor(write)
    monitor.record(MonitorEvent(kind="one"))
    assert not await monitor.flush()
    away = False
    assert await monitor.flush()
    assert await pool.fetchval("select count(*) from kaixu.gateway_event") == 1


async def test_a_batch_whose_answer_was_lost_is_written_and_counted_once(pool: asyncpg.Pool) -> None:
    failed = MonitorEvent(
        kind="error", customer_id=7, key_id=8, provider="up", model="ok", error_code="UPSTREAM", is_unbilled_call=True
    )
    lost = True

    async def write(events: Sequence[MonitorEvent], batch_id: UUID) -> None:
        nonlocal lost
        await write_events(pool, events, batch_id)
        if lost:
            lost = False
            raise DatabaseAway("the answer was lost")

    monitor = Monitor(write)
    monitor.record(failed)
    assert not await monitor.flush()
    monitor.record(failed)
    assert await monitor.flush()
    assert await pool.fetchval("select count(*) from kaixu.gateway_event") == 2
    [row] = await pool.fetch("select * from kaixu.refusal_quarter")
    counted = (row["customer_id"], row["key_id"], row["provider"], row["model"], row["code"], row["calls"])
    assert counted == (7, 8, "up", "ok", "UPSTREAM", 2)


async def test_a_full_queue_drops_the_oldest_and_says_how_many(pool: asyncpg.Pool) -> None:
    monitor = Monitor(lambda events, batch_id: write_events(pool, events, batch_id))
    for at in range(MAX_QUEUED + 3):
        monitor.record(MonitorEvent(kind="error", error_message=str(at)))
    assert await monitor.flush()
    assert monitor.dropped == 3
    assert await pool.fetchval("select min(error_message::int) from kaixu.gateway_event where kind = 'error'") == 3
    [row] = await pool.fetch("select * from kaixu.gateway_event where detail = 'dropped'")
    assert (row["kind"], row["error_message"]) == ("info", "3 monitor events were dropped")


async def test_every_kind_is_one_of_the_monitors(pool: asyncpg.Pool) -> None:
    kinds = ["error", "slow", "rate_limited", "blocked", "audit", "client_error", "alert", "reload", "lost", "tries"]
    await write_events(pool, [MonitorEvent(kind=kind) for kind in kinds])
    rows = await pool.fetch("select kind, detail from kaixu.gateway_event order by id")
    assert [tuple(row) for row in rows] == [
        *((kind, None) for kind in kinds[:7]),
        ("info", "reload"),
        ("alert", "lost"),
        ("info", "tries"),
    ]
