"""Old monitor events are archived, then removed; whatever happens in between, none is lost."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from kaixu.config.gateway_section import BlobsSection
from kaixu.ops.events import MonitorEvent
from kaixu.plugin.errors import Unavailable
from kaixu.store.blobs import Blobs, open_blobs
from kaixu.store.events import write_events
from kaixu.store.monitor_partitions import ensure_event_partitions, make_day, move_earlier_events, partition_days
from kaixu.store.monitor_removal import ARCHIVE, EventRemoval


@pytest.fixture
def now() -> datetime:
    """When the test began: a run of all tests may pass midnight."""
    return datetime.now(UTC)


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    """A store in a folder."""
    return open_blobs(BlobsSection(), tmp_path)


async def write(pool: asyncpg.Pool, now: datetime, *ages: float) -> None:
    """Events that happened so many days ago."""
    events = [MonitorEvent(kind="error", error_message=f"{age}", created_at=now - timedelta(days=age)) for age in ages]
    await write_events(pool, events)


async def left(pool: asyncpg.Pool) -> list[float]:
    """The ages of the events that are there."""
    rows = await pool.fetch("select error_message from kaixu.gateway_event order by id")
    return [float(row[0]) for row in rows]


async def archived(blobs: Blobs) -> list[float]:
    """The ages of the events in the archive."""
    lines: list[str] = []
    for blob in await blobs.list(ARCHIVE):
        lines += gzip.decompress(await blobs.get(blob.name)).decode().splitlines()
    return sorted(float(json.loads(line)["error_message"]) for line in lines)


async def test_old_events_are_archived_and_then_removed(pool: asyncpg.Pool, blobs: Blobs, now: datetime) -> None:
    async with pool.acquire() as connection:
        await make_day(connection, (now - timedelta(days=40)).date())
    await write(pool, now, 40, 40, 35, 31, 29, 0)
    removal = EventRemoval(pool, blobs)
    assert await removal.remove(now - timedelta(days=30)) == 4
    assert await left(pool) == [29, 0]
    assert await archived(blobs) == [31, 35, 40, 40]
    assert (now - timedelta(days=40)).date() not in await partition_days(pool)
    assert await removal.remove(now - timedelta(days=30)) == 0


async def test_without_an_archive_they_are_just_removed(pool: asyncpg.Pool, now: datetime) -> None:
    await write(pool, now, 40, 1)
    assert await EventRemoval(pool, None).remove(now - timedelta(days=30)) == 1
    assert await left(pool) == [1]


async def test_nothing_is_removed_while_the_archive_does_not_answer(
    pool: asyncpg.Pool, tmp_path: Path, now: datetime
) -> None:
    section = BlobsSection(url="s3://bucket/prefix", endpoint="http://127.0.0.1:1", region="none")
    blobs = open_blobs(section, tmp_path)
    await write(pool, now, 40, 1)
    with pytest.raises(Unavailable, match="does not answer"):
        await EventRemoval(pool, blobs).remove(now - timedelta(days=30))
    assert await left(pool) == [40, 1]


async def test_a_crash_between_archive_and_removal_repeats_without_loss(
    pool: asyncpg.Pool, blobs: Blobs, now: datetime
) -> None:
    day = (now - timedelta(days=40)).date()
    async with pool.acquire() as connection:
        await make_day(connection, day)
    await write(pool, now, 40, 40)
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("lock table kaixu.gateway_event in row exclusive mode")  # a writer: no drop now
        removed = await EventRemoval(pool, blobs)._remove_day(day, f"gateway_event_{day:%Y_%m_%d}")
        assert removed == 0
    assert await left(pool) == [40, 40]
    assert await EventRemoval(pool, blobs).remove(now - timedelta(days=30)) == 2
    assert await archived(blobs) == [40, 40]


async def test_events_from_before_the_partitions_move_with_their_ids(pool: asyncpg.Pool) -> None:
    await pool.execute(
        """
        insert into kaixu.gateway_event_before (kind, error_message, created_at)
        select 'error', g::text, now() - make_interval(days => g) from generate_series(0, 8) g
        """
    )
    before = await pool.fetch("select id, error_message from kaixu.gateway_event_before order by id")
    assert await move_earlier_events(pool, at_once=2) == 9
    assert await pool.fetch("select id, error_message from kaixu.gateway_event order by id") == before
    assert await move_earlier_events(pool) == 0


async def test_partitions_are_made_ahead_once(pool: asyncpg.Pool, now: datetime) -> None:
    async with pool.acquire() as connection:
        await ensure_event_partitions(connection)
        assert await ensure_event_partitions(connection) == []
    days = await partition_days(pool)
    assert now.date() in days
    assert len(days) >= 4
    await write(pool, now, 0)
    [row] = await pool.fetch("select tableoid::regclass::text as name from kaixu.gateway_event")
    assert row["name"] == f"kaixu.gateway_event_{now:%Y_%m_%d}"
