"""Limits how often the same warning or error is logged: during an outage it would fill the disk."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from time import monotonic

#: The maximum number of equal lines in a window; of more, only the number is logged.
MAX_EQUAL = 5
WINDOW_S = 60.0

#: The number of different lines in memory; beyond that the oldest are forgotten.
MAX_DIFFERENT = 1000

#: Lines are equal if they come from the same place and have the same text without its values, and the same exception.
Sameness = tuple[object, ...]


class Repeats:
    """The lines of one kind in the current window."""

    __slots__ = ("began", "count", "last")

    def __init__(self, began: float) -> None:
        self.began = began
        self.count = 0
        self.last: logging.LogRecord | None = None  # of those that were not logged


class RepeatLimit:
    """Passes the first `MAX_EQUAL` equal warnings and errors of a minute, and counts the others."""

    def __init__(self, *, clock: Callable[[], float] = monotonic) -> None:
        self.clock = clock
        self.lock = threading.Lock()
        self.by_kind: OrderedDict[Sameness, Repeats] = OrderedDict()

    def passes(self, record: logging.LogRecord) -> bool:
        """Whether to log a line; the others are counted for `summaries`."""
        if record.levelno < logging.WARNING:
            return True
        kind = sameness(record)
        with self.lock:
            repeats = self.by_kind.get(kind)
            if repeats is None:
                if len(self.by_kind) >= MAX_DIFFERENT:
                    self.by_kind.popitem(last=False)
                repeats = self.by_kind[kind] = Repeats(self.clock())
            repeats.count += 1
            if repeats.count <= MAX_EQUAL:
                return True
            repeats.last = record
            return False

    def summaries(self, *, all_windows: bool = False) -> list[logging.LogRecord]:
        """Lines that tell how many were left out, for each window that has ended; `all_windows`: for all of them."""
        ended: list[Repeats] = []
        with self.lock:
            now = self.clock()
            for kind in list(self.by_kind):
                repeats = self.by_kind[kind]
                if all_windows or now - repeats.began >= WINDOW_S:
                    ended.append(self.by_kind.pop(kind))
        return [summary(one.last, one.count - MAX_EQUAL) for one in ended if one.last is not None]


def sameness(record: logging.LogRecord) -> Sameness:
    """What equal lines have in common."""
    error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
    at = None if error is None else place_of(error)
    return record.name, record.levelno, record.lineno, str(record.msg), type(error).__name__, at


def place_of(error: BaseException) -> tuple[str, int] | None:
    """The line that raised an exception."""
    trace = error.__traceback__
    if trace is None:
        return None
    while trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_frame.f_code.co_filename, trace.tb_lineno


def summary(last: logging.LogRecord, left_out: int) -> logging.LogRecord:
    """The line for those that were left out, with the text of the last one."""
    return logging.makeLogRecord(
        {
            "name": last.name,
            "levelno": last.levelno,
            "levelname": last.levelname,
            "msg": f"and {left_out:,} more within {WINDOW_S:g} s, the last one: {last.getMessage()}",
            "repeats": left_out,
        }
    )
