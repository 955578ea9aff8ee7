"""The tail below HTTP: late commits, slow viewers, limits, outages, and one query for all viewers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaixu.plugin.errors import Overloaded, Stopping
from kaixu.reports import tail_viewer
from kaixu.reports.monitor_filter import MonitorFilter
from kaixu.reports.monitor_tail import PAUSE_S, MonitorTail
from kaixu.reports.tail_position import LOOKED_FOR_S, Position
from kaixu.reports.tail_viewer import TailEnded, TailEvent, TailWarning, Viewer
from kaixu.store.events import write_events
from kaixu.store.pool import open_pool
from tests.support.monitor import event

INSERT = "insert into kaixu.gateway_event (kind, error_message) values ('error', $1) returning id"


@pytest.fixture
async def tail(pool: asyncpg.Pool, dsn: str) -> AsyncIterator[MonitorTail]:
    """A tail with few viewers."""
    tail = MonitorTail(pool, lambda: dsn, most=25)
    yield tail
    tail.stop()


#: The filter that shows all.
EVERYTHING = MonitorFilter()


async def words(viewer: Viewer, count: int) -> list[str | None]:
    """The messages of the next events, in order."""
    found: list[str | None] = []
    async with asyncio.timeout(30):
        while len(found) < count:
            found += [item.row.error_message for item in await viewer.read(1) if isinstance(item, TailEvent)]
    return found


async def test_an_event_that_commits_after_later_ones_is_not_lost(
    tail: MonitorTail, pool: asyncpg.Pool, dsn: str
) -> None:
    """As with a writer that does not take turns: the tail comes back for the id it has not seen."""
    await pool.execute("alter table kaixu.gateway_event disable trigger gateway_event_takes_turns")
    viewer = await tail.join(EVERYTHING)
    slow, fast = await asyncpg.connect(dsn), await asyncpg.connect(dsn)
    transaction = slow.transaction()
    await transaction.start()
    early = await slow.fetchval(INSERT, "early id, late commit")
    later = await fast.fetchval(INSERT, "late id, early commit")
    assert early < later
    assert await words(viewer, 1) == ["late id, early commit"]
    joined_between = await tail.join(EVERYTHING, after_id=later)
    came_back = await tail.join(EVERYTHING, after_id=early - 1)
    await transaction.commit()
    assert await words(viewer, 1) == ["early id, late commit"]
    assert await words(joined_between, 1) == ["early id, late commit"]
    assert sorted(await words(came_back, 2), key=str) == ["early id, late commit", "late id, early commit"]
    await fast.execute(INSERT, "end")
    for one in (viewer, joined_between, came_back):
        assert await words(one, 1) == ["end"]  # and nothing twice
    await slow.close()
    await fast.close()


async def test_a_tail_that_begins_while_a_writer_is_at_work_gets_its_event(
    tail: MonitorTail, pool: asyncpg.Pool, dsn: str
) -> None:
    await pool.execute("alter table kaixu.gateway_event disable trigger gateway_event_takes_turns")
    await pool.execute(INSERT, "before")
    slow = await asyncpg.connect(dsn)
    transaction = slow.transaction()
    await transaction.start()
    await slow.execute(INSERT, "not committed yet")
    await pool.execute(INSERT, "after")
    viewer = await tail.join(EVERYTHING)
    await transaction.commit()
    assert await words(viewer, 1) == ["not committed yet"]
    await slow.close()


async def test_writers_take_turns_so_that_ids_become_visible_in_order(pool: asyncpg.Pool, dsn: str) -> None:
    first, second = await asyncpg.connect(dsn), await asyncpg.connect(dsn)
    transaction = first.transaction()
    await transaction.start()
    early = await first.fetchval(INSERT, "first")
    waiting = asyncio.ensure_future(second.fetchval(INSERT, "second"))
    process = second.get_server_pid()
    async with asyncio.timeout(30):
        while not await pool.fetchval("select true from pg_locks where pid = $1 and not granted", process):
            await asyncio.sleep(0.02)
    assert not waiting.done()
    await transaction.commit()
    assert early < await waiting
    await first.close()
    await second.close()


async def test_one_query_serves_all_viewers(tail: MonitorTail, pool: asyncpg.Pool) -> None:
    viewers = [await tail.join(EVERYTHING) for _ in range(20)]
    await words_of_one_write(tail, pool, viewers, "warm")
    before = tail.queries
    await words_of_one_write(tail, pool, viewers, "one")
    assert tail.queries - before < 10  # not one for each of the 20 viewers


async def words_of_one_write(tail: MonitorTail, pool: asyncpg.Pool, viewers: list[Viewer], word: str) -> None:
    """Write an event and see that everybody gets it."""
    await write_events(pool, [event(word)])
    for viewer in viewers:
        assert await words(viewer, 1) == [word]


async def test_a_slow_viewer_gets_what_did_not_fit_from_the_database(
    tail: MonitorTail, pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail_viewer, "MAX_READY", 10)
    slow, quick = await tail.join(EVERYTHING), await tail.join(EVERYTHING)
    await write_events(pool, [event(str(number)) for number in range(700)])
    assert len(await words(quick, 700)) == 700
    assert await words(slow, 700) == [str(number) for number in range(700)]
    await write_events(pool, [event("live again")])
    assert await words(slow, 1) == ["live again"]


async def test_a_viewer_that_never_reads_is_told_how_many_events_were_dropped(
    tail: MonitorTail, pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail_viewer, "MAX_READY", 10)
    monkeypatch.setattr(tail_viewer, "MAX_BEHIND", 20)
    slow = await tail.join(EVERYTHING)
    await write_events(pool, [event(str(number)) for number in range(100)])
    assert await words(slow, 30) == [str(number) for number in range(30)]
    assert await warning(slow) == TailWarning("70 events were dropped: this viewer reads too slowly", 70)
    await write_events(pool, [event("live again")])
    assert await words(slow, 1) == ["live again"]


async def test_a_viewer_that_comes_back_after_too_long_is_told_what_it_misses(
    tail: MonitorTail, pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail_viewer, "MAX_BACK", 10)
    await write_events(pool, [event(str(number)) for number in range(30)])
    first: int = await pool.fetchval("select min(id) from kaixu.gateway_event")
    viewer = await tail.join(EVERYTHING, after_id=first)
    assert (await warning(viewer)).dropped == 18
    assert await words(viewer, 11) == [str(number) for number in range(19, 30)]


async def test_viewers_are_limited_and_none_join_a_stopping_gateway(tail: MonitorTail) -> None:
    viewers = [await tail.join(EVERYTHING) for _ in range(25)]
    with pytest.raises(Overloaded) as refused:
        await tail.join(EVERYTHING)
    assert (refused.value.status, refused.value.code) == (503, "TOO_MANY_VIEWERS")
    tail.leave(viewers[0])
    await tail.join(EVERYTHING)
    tail.stop()
    with pytest.raises(TailEnded):
        await viewers[1].read(1)
    with pytest.raises(Stopping):
        await tail.join(EVERYTHING)


async def test_announcements_that_a_pooler_swallows_are_not_waited_for(tail: MonitorTail, pool: asyncpg.Pool) -> None:
    await pool.execute("alter table kaixu.gateway_event disable trigger gateway_event_is_announced")
    viewer = await tail.join(EVERYTHING)
    for number in range(3):
        await write_events(pool, [event(str(number))])
        assert await words(viewer, 1) == [str(number)]


async def test_viewers_are_warned_in_an_outage_and_then_get_what_was_written(
    server_dsn: str, dsn: str, pool: asyncpg.Pool
) -> None:
    watched = await open_pool(dsn, name="kaixu watched")
    tail = MonitorTail(watched, None)
    viewer = await tail.join(EVERYTHING)
    name = await pool.fetchval("select current_database()")
    server = await asyncpg.connect(server_dsn)
    await server.execute(f'alter database "{name}" allow_connections false')
    await server.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1 and application_name = $2",
        name,
        "kaixu watched",
    )
    assert (await warning(viewer)).text == "events cannot be read now; the gateway's log says why"
    await server.execute(f'alter database "{name}" allow_connections true')
    await write_events(pool, [event("after")])
    assert await words(viewer, 1) == ["after"]
    tail.stop()
    await server.close()
    await watched.close()


async def warning(viewer: Viewer) -> TailWarning:
    """The next warning; events before it are passed over."""
    async with asyncio.timeout(30):
        while True:
            for item in await viewer.read(1):
                if isinstance(item, TailWarning):
                    return item


@given(st.lists(st.integers(1, 60), unique=True, max_size=40), st.data())
def test_a_position_finds_each_id_once_in_whatever_order_they_become_visible(ids: list[int], data: Any) -> None:
    position, found, visible = Position((), 0.0), [], set[int]()
    for one in [*ids, None]:
        if one is not None:
            visible.add(one)
            if not data.draw(st.booleans()):
                continue
        ranges = list(zip(*position.ranges(), strict=True))
        read = sorted(one for one in visible if any(first <= one <= last for first, last in ranges))
        found += read
        position.advance(read, 0.0)
    assert sorted(found) == sorted(ids)


def test_a_gap_is_forgotten_after_a_while() -> None:
    position = Position([1, 5], 0.0)
    assert position.ranges() == ([2, 6], [4, 2**63 - 1])
    position.advance([], LOOKED_FOR_S + 1)
    assert position.ranges() == ([6], [2**63 - 1])


@pytest.mark.parametrize("steps", range(6))
async def test_a_reader_ends_with_its_last_viewer_though_events_are_announced_at_that_moment(
    tail: MonitorTail, steps: int
) -> None:
    """With `asyncio.wait_for` of Python 3.11 it went on, and the next viewer got events of two readers."""

    def readers() -> list[asyncio.Task[Any]]:
        return [task for task in asyncio.all_tasks() if task.get_name() == "monitor tail"]

    viewer = await tail.join(EVERYTHING)
    (reader,) = readers()
    async with asyncio.timeout(30):
        while tail.queries < 2:  # it has read once, for what was written while nobody listened, and waits again
            await asyncio.sleep(0.01)
        await asyncio.sleep(2 * PAUSE_S)
        tail._heard()
        for _ in range(steps):
            await asyncio.sleep(0)
        tail.leave(viewer)
        await asyncio.wait([reader])
    assert reader.cancelled()
    assert readers() == []
