"""The live tail of monitor events: read once in each process, passed on to any number of viewers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from time import monotonic

import asyncpg
import msgspec

from kaixu.plugin.errors import DatabaseAway, Overloaded, Stopping
from kaixu.store.listen import Listener
from kaixu.store.pool import database
from kaixu.store.query import Query

from .monitor_events import COLUMNS, MonitorRow
from .monitor_filter import MonitorFilter
from .tail_position import Position
from .tail_viewer import TailEvent, TailWarning, Viewer

log = logging.getLogger(__name__)

#: The channel of the trigger `gateway_event_is_announced`.
CHANNEL = "kaixu_gateway_event"

#: The most viewers of one process.
MAX_VIEWERS = 100

#: The most events of one query; a full one is followed by the next at once.
AT_ONCE = 1000

#: How often the database is asked: without notifications, and with them, in case some were lost.
POLL_S = 1.0
POLL_WHILE_LISTENING_S = 5.0

#: The shortest time between two queries, so that many small batches are read together.
PAUSE_S = 0.1

#: How many of the newest ids are looked at for gaps when the tail begins.
LOOK_BACK = 1000


class IdRow(msgspec.Struct, frozen=True):
    """An id."""

    id: int


class FirstRow(msgspec.Struct, frozen=True):
    """The least id; None where there is no row."""

    id: int | None


NEWEST_IDS = Query(
    IdRow,
    """
    select e.id
      from kaixu.gateway_event e
     order by e.id desc
     limit $1
    """,
)

#: The first events since a time: a later id may have been recorded a little earlier.
FIRST_SINCE = Query(
    FirstRow,
    """
    select min(e.id) as id
      from (select g.id
              from kaixu.gateway_event g
             where g.created_at >= $1
             order by g.created_at
             limit $2) e
    """,
)

#: Each range is looked up in the index by itself: one condition for all of them would read the whole table.
EVENTS_IN_RANGES = Query(
    MonitorRow,
    f"""
    select {COLUMNS}
      from unnest($1::bigint[], $2::bigint[]) as range (first, last)
     cross join lateral (select *
                           from kaixu.gateway_event g
                          where g.id between range.first and range.last
                          order by g.id
                          limit $3) e
     order by e.id
     limit $3
    """,  # noqa: S608 - constants
)


class MonitorTail:
    """Reads new events with one query for all viewers, when the database announces some, or each second.

    It runs while there are viewers. `dsn`: where to listen; None: nowhere, because a pooler is in between.
    """

    def __init__(self, pool: asyncpg.Pool, dsn: Callable[[], str] | None, *, most: int = MAX_VIEWERS) -> None:
        self._pool = pool
        self._most = most
        self._viewers: set[Viewer] = set()
        self._position = Position((), 0.0)
        self._hint = asyncio.Event()
        self._hinted = True  # by the database, at least once since an event came without a hint
        self._listener = None if dsn is None else Listener(dsn, CHANNEL, self._heard)
        self._tasks: list[asyncio.Task[None]] = []
        self._joining = asyncio.Lock()
        self._stopping = False
        self._away = False
        self.queries = 0  # for all viewers together, since the start

    @property
    def viewers(self) -> int:
        """How many viewers there are."""
        return len(self._viewers)

    async def join(self, shown: MonitorFilter, *, after_id: int | None = None) -> Viewer:
        """Add a viewer of what the filter shows: after `after_id`, or since the filter's time, or from now on.

        Raises `Overloaded`, `Stopping`, `DatabaseAway`.
        """
        async with self._joining:
            if self._stopping:
                raise Stopping("the gateway is shutting down", hint="Try again in a moment.", retry_after_s=2)
            if len(self._viewers) >= self._most:
                raise Overloaded(
                    f"{self._most} viewers follow the monitor, as many as one process allows",
                    hint="Close a viewer, or list events with admin-monitor-events.",
                    retry_after_s=10,
                    code="TOO_MANY_VIEWERS",
                )
            if after_id is None and shown.since is not None:
                after_id = await self._last_before(shown.since)
            if not self._tasks:
                await self._begin()
            position = self._position
            viewer = Viewer(
                shown.matches, self._read_ranges, position=position.last, after_id=after_id, gaps=position.gaps
            )
            self._viewers.add(viewer)
            return viewer

    def leave(self, viewer: Viewer) -> None:
        """Remove a viewer. After the last one nothing runs."""
        self._viewers.discard(viewer)
        if not self._viewers:
            self._end_tasks()

    def stop(self) -> None:
        """End the tail of every viewer; no viewer joins any more."""
        self._stopping = True
        for viewer in self._viewers:
            viewer.end("the gateway is shutting down")
        self._end_tasks()

    async def _begin(self) -> None:
        """Find the newest event and start reading. Raises `DatabaseAway`."""
        self.queries += 1
        with database():
            newest = await NEWEST_IDS.all(self._pool, LOOK_BACK)
        self._position = Position([row.id for row in reversed(newest)], monotonic())
        self._hint.clear()
        self._hinted, self._away = True, False
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._run(), name="monitor tail")]
        if self._listener is not None:
            self._tasks.append(loop.create_task(self._listener.run(), name="monitor notifications"))

    async def _last_before(self, moment: datetime) -> int | None:
        """The id before the first event since `moment`; None if there is none yet. Raises `DatabaseAway`."""
        self.queries += 1
        with database():
            first = await FIRST_SINCE.one(self._pool, moment, LOOK_BACK)
        return None if first is None or first.id is None else first.id - 1

    def _end_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._tasks = []

    def _heard(self) -> None:
        """The database has announced events."""
        self._hinted = True
        self._hint.set()

    def _poll_s(self) -> float:
        """How long to wait for an announcement. Without them, and while an id is missing, not long."""
        is_listening = self._listener is not None and self._listener.is_listening
        return POLL_WHILE_LISTENING_S if is_listening and self._hinted and not self._position.gaps else POLL_S

    async def _run(self) -> None:
        """Read and pass on until cancelled."""
        while True:
            is_hint = True
            try:
                async with asyncio.timeout(self._poll_s()):
                    await self._hint.wait()
            except TimeoutError:
                is_hint = False
            self._hint.clear()
            try:
                found = await self._read()
                self._away = False
            except Exception as error:  # noqa: BLE001 - a failed round must not end the tail
                self._tell(error)
                found = 0
            if found and not is_hint:
                self._hinted = False  # a pooler may swallow the announcements
            if found < AT_ONCE:
                await asyncio.sleep(PAUSE_S)
            else:
                self._hint.set()

    async def _read(self) -> int:
        """Read what is new, and pass it on; return how many events. Raises `DatabaseAway`."""
        rows = await self._read_ranges(*self._position.ranges(), AT_ONCE)
        self._position.advance([row.id for row in rows], monotonic())
        for row in rows:
            event = TailEvent(row)
            for viewer in self._viewers:
                viewer.offer(event)
        return len(rows)

    async def _read_ranges(self, first: Sequence[int], last: Sequence[int], most: int) -> list[MonitorRow]:
        self.queries += 1
        with database():
            return await EVENTS_IN_RANGES.all(self._pool, first, last, most)

    def _tell(self, error: Exception) -> None:
        """Warn the viewers, once until events can be read again."""
        if self._away:
            return
        self._away = True
        if isinstance(error, DatabaseAway):
            text = error.message
        else:
            text = "events cannot be read now; the gateway's log says why"
            log.error("monitor events cannot be read", exc_info=error)
        for viewer in self._viewers:
            viewer.warn(TailWarning(text))
