"""The log: lines are queued, and formatted and written by a thread, so that a slow disk or pipe delays no call."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from time import monotonic, sleep
from typing import TextIO

from .log_format import LogFormat, formatter
from .log_limit import RepeatLimit

#: The id of the request that the running task serves, for the log alone. A context variable, because libraries log too.
REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)

#: The maximum number of lines that wait; more are dropped and counted.
MAX_WAITING = 20_000

#: Seconds between looks for summaries that are due.
TICK_S = 1.0

#: How long the writer gathers lines: written one by one, they would cost calls twice as much.
GATHER_S = 0.02

#: How long the process waits at its end for the last lines to be written.
LAST_LINES_S = 5.0

#: Loggers that would repeat what the gateway logs itself: asyncpg logs a stack for each failed connection.
SILENCED = ("asyncpg.pool",)

#: Makes one line, in the writer's thread.
MakeLine = Callable[[], str]


class LogWriter:
    """Writes lines to `stream` in a thread of its own. `put` never waits."""

    def __init__(self, stream: TextIO, log_format: LogFormat, *, max_waiting: int = MAX_WAITING) -> None:
        self.stream = stream
        self.max_waiting = max_waiting
        self.formatter = formatter(log_format)
        self.limit = RepeatLimit()
        self.dropped = 0  # since the last line about it
        self.dropped_in_all = 0
        self.waiting: queue.SimpleQueue[MakeLine | None] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._run, name="log", daemon=True)
        self.thread.start()

    def put(self, make_line: MakeLine) -> None:
        """Queue a line. A full queue drops it."""
        if self.waiting.qsize() >= self.max_waiting:
            self.dropped += 1
            self.dropped_in_all += 1
            return
        self.waiting.put(make_line)

    def close(self) -> None:
        """Write what waits, and end the thread."""
        if self.thread.is_alive():
            self.waiting.put(None)
            self.thread.join(LAST_LINES_S)

    def _run(self) -> None:
        looked_at = monotonic()
        while True:
            lines: list[str] = []
            with suppress(queue.Empty):
                make_line = self.waiting.get(timeout=TICK_S)
                if make_line is not None and self.waiting.empty():
                    sleep(GATHER_S)
                while make_line is not None:
                    lines.append(line_of(make_line))
                    if len(lines) >= 200:
                        break
                    make_line = self.waiting.get_nowait()
                if make_line is None:
                    self._write([*lines, *self._summaries(all_windows=True)])
                    return
            if monotonic() - looked_at >= TICK_S:
                looked_at = monotonic()
                lines += self._summaries()
            self._write(lines)

    def _summaries(self, *, all_windows: bool = False) -> list[str]:
        records = self.limit.summaries(all_windows=all_windows)
        if self.dropped:
            dropped, self.dropped = self.dropped, 0
            text = f"{dropped:,} lines were dropped: the log is written more slowly than it fills"
            records.append(logging.LogRecord(__name__, logging.WARNING, __file__, 0, text, None, None))
        return [line_of(partial(self.formatter.format, record)) for record in records]

    def _write(self, lines: list[str]) -> None:
        if not lines:
            return
        try:
            self.stream.write("\n".join(lines) + "\n")
            self.stream.flush()
        except (OSError, ValueError):  # the disk is full, or the pipe closed
            self.dropped += len(lines)
            self.dropped_in_all += len(lines)


def line_of(make_line: MakeLine) -> str:
    """A line; a bug in making it must not end the log."""
    try:
        return make_line()
    except Exception as error:  # noqa: BLE001 - there is no log to tell it to
        return f"a line of the log could not be formatted: {type(error).__name__}"


class QueueingHandler(logging.Handler):
    """Passes the lines of all loggers to a writer."""

    def __init__(self, writer: LogWriter) -> None:
        super().__init__()
        self.writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a line, with the id of the request that is served."""
        if not self.writer.limit.passes(record):
            return
        record.request_id = REQUEST_ID.get()
        record.msg, record.args = record.getMessage(), None  # its values may change before it is written
        self.writer.put(partial(self.writer.formatter.format, record))

    def close(self) -> None:
        """Write what waits. Called at the end of the process."""
        self.writer.close()
        super().close()


def start_log(stream: TextIO, log_format: LogFormat, level: str) -> LogWriter:
    """Send the lines of the gateway and of libraries to `stream`, from `level` on; of libraries at least warnings."""
    writer = LogWriter(stream, log_format)
    number = logging.getLevelNamesMapping()[level.upper()]
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    root.addHandler(QueueingHandler(writer))
    root.setLevel(number if number <= logging.DEBUG else max(number, logging.WARNING))
    logging.getLogger("kaixu").setLevel(number)
    for name in SILENCED:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.captureWarnings(True)
    return writer
