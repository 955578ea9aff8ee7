"""Server-sent events: frames, a bounded buffer, and pings on idle streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from math import inf
from typing import Any

import msgspec

from kaixu.plugin.deadline import CallTimer, within

ENCODER = msgspec.json.Encoder()

#: Clients and proxies close idle connections; the API promises a ping at least this often.
PING_S = 15.0

#: An event loop may round its timers by this much.
TIMER_ROUNDING_S = 0.005

#: The buffer size for a slow client; when it is full, the vendor's stream is not read.
MAX_BUFFERED_BYTES = 64 * 1024


def frame(event: str, data: Any) -> bytes:
    """One frame: a name, one line of JSON, a blank line; LF only."""
    return b"event: %s\ndata: %s\n\n" % (event.encode(), ENCODER.encode(data))


def comment() -> bytes:
    """A ping that clients ignore: a comment, as WHATWG's "Server-sent events" §9.2.7 advises."""
    return b": ping\n\n"


def data_frame(data: Any) -> bytes:
    """One frame without a name, as OpenAI's streams have them."""
    return b"data: %s\n\n" % ENCODER.encode(data)


class EventStream:
    """A response body that a task writes; frames written together are sent together.

    `make(stream)` is the task, which calls `put`. It starts when the server first reads the body. When the client
    disconnects, the task is cancelled, and `aclose` waits for its end, so that the call is settled by then.
    `read_on_s`: for how many seconds it runs on instead (`math.inf`: to its end). If the task never starts (a server
    may drop a body unread), `abandon` runs in its place.
    """

    def __init__(
        self,
        make: Callable[[EventStream], Coroutine[Any, Any, None]],
        abandon: Callable[[], Coroutine[Any, Any, None]],
        *,
        read_on_s: Callable[[], float] = lambda: 0.0,
        ping: Callable[[], bytes] = comment,
        buffer_bytes: int = MAX_BUFFERED_BYTES,
    ) -> None:
        self._make = make
        self._abandon = abandon
        self._loop = asyncio.get_running_loop()
        self.started = False  # set by the task's first statement; a task that is cancelled earlier never runs
        self._read_on_s = read_on_s
        self._frames: list[bytes] = []
        self._size = 0
        self._task: asyncio.Task[None] | None = None
        self._reader: asyncio.Future[None] | None = None  # waits for a frame, or for the task's end
        self._timer: asyncio.TimerHandle | None = None  # of pings: one for the whole stream, moved on when it fires
        self._idle_since = 0.0
        self._writable = asyncio.Event()
        self._writable.set()
        self._gone = False
        self._make_ping = ping
        self._buffer_bytes = buffer_bytes
        self.is_committed = False  # the reply has begun: an error can no longer change its status

    @property
    def is_disconnected(self) -> bool:
        """Whether the client has disconnected."""
        return self._gone

    async def put(self, data: bytes) -> None:
        """Add a frame. Waits while the buffer is full; drops the frame if the client has disconnected."""
        if self._gone or not data:
            return
        self.is_committed = True
        if self._size >= self._buffer_bytes:
            self._writable.clear()
            await self._writable.wait()
        self._frames.append(data)
        self._size += len(data)
        self._wake_reader()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def first(self, within_s: float) -> None:
        """Wait for the first output, at most `within_s`. Raises the task's error if it fails before any output."""
        task = self._begin()
        try:
            with within(within_s):
                if not self._frames and not task.done():
                    await self._woken()
        except TimeoutError:
            self.is_committed = True
        if task.done() and not self._frames:
            task.result()

    def _begin(self) -> asyncio.Task[None]:
        if self._task is None:
            self._task = self._loop.create_task(self._run())
            self._task.add_done_callback(lambda _: self._wake_reader())
        return self._task

    async def _run(self) -> None:
        with CallTimer():
            await self._make(self)

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def _woken(self) -> asyncio.Future[None]:
        """Done when there is a frame, or the task has ended."""
        self._reader = self._loop.create_future()
        return self._reader

    async def __anext__(self) -> bytes:
        self.is_committed = True
        task = self._begin()
        while not self._frames:
            if task.done():
                task.result()
                raise StopAsyncIteration
            self._idle_since = self._loop.time()
            if self._timer is None:
                self._timer = self._loop.call_later(PING_S, self._ping)
            await self._woken()
        data = self._frames[0] if len(self._frames) == 1 else b"".join(self._frames)
        self._frames.clear()
        self._size = 0
        self._writable.set()
        return data

    def _ping(self) -> None:
        """Send a ping if the reader has waited for long enough; else look again when it has."""
        self._timer = None
        if self._gone or self._reader is None or self._reader.done():
            return
        ping_at = self._idle_since + PING_S
        if ping_at > self._loop.time() + TIMER_ROUNDING_S:
            self._timer = self._loop.call_at(ping_at, self._ping)
            return
        self._frames.append(self._make_ping())
        self._wake_reader()

    async def aclose(self) -> None:
        """Cancel the task and wait for it, or let it run on for a while without a client."""
        self._gone = True
        if self._timer is not None:
            self._timer.cancel()
        self._writable.set()
        task = self._task
        cancelled = False
        if task is not None and not task.done():
            if self.started and (read_on_s := self._read_on_s()) > 0:
                if read_on_s != inf:
                    self._loop.call_later(read_on_s, task.cancel)
                return
            task.cancel()
            cancelled = await wait_to_end(task)
        if not self.started:
            self.started = True
            cancelled = await wait_to_end(self._loop.create_task(self._abandon())) or cancelled
        if cancelled:
            raise asyncio.CancelledError

    def __del__(self) -> None:
        if self._task is None and not self.started and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._loop.create_task, self._abandon())


async def wait_to_end(task: asyncio.Task[Any]) -> bool:
    """Wait until `task` has ended, even if the wait is cancelled; return whether it was cancelled."""
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            cancelled = True
    return cancelled
