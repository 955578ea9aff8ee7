"""One viewer of the monitor's tail: its filter, its bounded queue, and what it has missed."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import cached_property

import msgspec

from kaixu.plugin.errors import DatabaseAway

from .monitor_events import MonitorRow, monitor_row_json
from .tail_position import Gap

#: Events that wait in memory for one viewer; they are shared, so a viewer costs a reference each.
MAX_READY = 4000

#: Beyond that the ids of events, which are read again when the viewer has caught up.
MAX_BEHIND = 20_000

#: How many events are read again, or passed on, at once.
PAGE = 500

#: A stream that catches up goes back at most this many ids.
MAX_BACK = 100_000

#: The pause before the database is asked again after it did not answer.
RETRY_S = 1.0

ENCODER = msgspec.json.Encoder()


class TailEvent:
    """One event, encoded once for all viewers."""

    def __init__(self, row: MonitorRow) -> None:
        self.row = row

    @cached_property
    def json(self) -> bytes:
        """The event as `admin-monitor-events` shows it."""
        return ENCODER.encode(monitor_row_json(self.row))


class TailWarning(msgspec.Struct, frozen=True):
    """Something that a viewer should know. `dropped`: events that it does not get."""

    text: str
    dropped: int = 0


class TailEnded(Exception):
    """The tail is over for this viewer, and why."""


#: Reads the events in ranges of ids, ascending: (first ids, last ids, how many at most). Raises `DatabaseAway`.
ReadRanges = Callable[[Sequence[int], Sequence[int], int], Awaitable[list[MonitorRow]]]


class Viewer:
    """Gets every event after `position` that `matches`, once each, in the order in which they became visible.

    `after_id`: also those between this id and `position`. `gaps`: ids below `position` that may still come; what comes
    of them may be read while catching up, offered, or both.
    """

    def __init__(
        self,
        matches: Callable[[MonitorRow], bool],
        read_ranges: ReadRanges,
        *,
        position: int,
        after_id: int | None,
        gaps: Sequence[Gap],
    ) -> None:
        self.matches = matches
        self.began_after = position if after_id is None else min(after_id, position)
        self._read_ranges = read_ranges
        self._gaps = tuple(gaps)
        self._next = self.began_after + 1  # the next id to catch up with
        self._position = position
        self._late: set[int] = set()  # ids of the gaps that have come
        self._ready: deque[TailEvent] = deque()
        self._behind: deque[int] = deque()
        self._dropped = 0
        self._warnings: deque[TailWarning] = deque()
        self._ended: str | None = None
        self._away = False
        self._wake = asyncio.Event()
        if (skipped := position - MAX_BACK - self._next) > 0:
            self._next = position - MAX_BACK
            self.warn(TailWarning(f"{skipped} ids lie too far back for the tail; list them instead", skipped))

    def offer(self, event: TailEvent) -> None:
        """Add a new event, if it matches: to the queue, or as an id to read again, or only to the count."""
        number = event.row.id
        if not self._is_first(number) or not self.matches(event.row):
            return
        if not self._behind and not self._dropped and len(self._ready) < MAX_READY:
            self._ready.append(event)
        elif not self._dropped and len(self._behind) < MAX_BEHIND:
            self._behind.append(number)
        else:
            self._dropped += 1
        self._wake.set()

    def _is_first(self, number: int) -> bool:
        """Whether an id of the gaps comes for the first time; true for all others."""
        if number > self._position or not any(gap.first <= number <= gap.last for gap in self._gaps):
            return True
        if number in self._late:
            return False
        self._late.add(number)
        return True

    def warn(self, warning: TailWarning) -> None:
        """Tell the viewer something, before the next events."""
        if len(self._warnings) < PAGE:
            self._warnings.append(warning)
        self._wake.set()

    def end(self, why: str) -> None:
        """End the tail. What waits in memory is still passed on."""
        self._ended = why
        self._wake.set()

    async def read(self, within_s: float) -> Sequence[TailEvent | TailWarning]:
        """The next events and warnings; [] if there are none `within_s`. Raises `TailEnded`."""
        if self._warnings:
            warnings = list(self._warnings)
            self._warnings.clear()
            return warnings
        if self._next <= self._position and self._ended is None:
            return await self._read_again(self._catch_up)
        if self._ready:
            return [self._ready.popleft() for _ in range(min(PAGE, len(self._ready)))]
        if self._ended is not None:
            raise TailEnded(self._ended)
        if self._behind:
            return await self._read_again(self._read_behind)
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            return [TailWarning(f"{dropped} events were dropped: this viewer reads too slowly", dropped)]
        self._wake.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._wake.wait()
        return []

    async def _read_again(self, read: Callable[[], Awaitable[list[TailEvent]]]) -> Sequence[TailEvent | TailWarning]:
        """Read from the database; warn once while it is away."""
        try:
            events = await read()
        except DatabaseAway as error:
            if not self._away:
                self._away = True
                return [TailWarning(error.message)]
            await asyncio.sleep(RETRY_S)
            return []
        self._away = False
        return events

    async def _catch_up(self) -> list[TailEvent]:
        """The next events between `after_id` and the position at which the viewer joined."""
        rows = await self._read_ranges([self._next], [self._position], PAGE)
        self._next = rows[-1].id + 1 if len(rows) == PAGE else self._position + 1
        return [TailEvent(row) for row in rows if self._is_first(row.id) and self.matches(row)]

    async def _read_behind(self) -> list[TailEvent]:
        """The next events that did not fit into the queue. They stay noted until they are read."""
        ids = [self._behind[at] for at in range(min(PAGE, len(self._behind)))]
        rows = {row.id: row for row in await self._read_ranges(ids, ids, len(ids))}
        for _ in ids:
            self._behind.popleft()
        return [TailEvent(rows[one]) for one in ids if one in rows]
