"""One connection to a vendor: a request is written, its reply is read, and the connection waits for the next one."""

from __future__ import annotations

import asyncio
import select
from collections.abc import AsyncIterable
from math import inf
from typing import TYPE_CHECKING, cast

import httpx
from httptools import HttpParserError, HttpParserUpgrade

from .http_reply import MOST_HEAD_BYTES, Reply
from .http_upload import send_body

if TYPE_CHECKING:
    from .http_pool import ConnectionPool, Origin


class Connection(asyncio.Protocol):
    """A connection of the `pool` to `origin`. It has one timer, which is set once for many waits."""

    __slots__ = (
        "deadline",
        "idle_since",
        "is_closed",
        "is_last",
        "is_write_paused",
        "loop",
        "origin",
        "pool",
        "reply",
        "timer",
        "timer_at",
        "transport",
        "unsent",
        "upload",
        "writable",
    )

    transport: asyncio.Transport

    def __init__(self, loop: asyncio.AbstractEventLoop, pool: ConnectionPool, origin: Origin) -> None:
        self.loop = loop
        self.pool = pool
        self.origin = origin
        self.reply: Reply | None = None  # to the request that is on its way
        self.upload: asyncio.Task[None] | None = None
        self.is_last = False  # the request says that it is the last one
        self.is_closed = False
        self.idle_since = 0.0
        self.is_write_paused = False
        self.writable: asyncio.Future[None] | None = None
        self.deadline = inf
        self.timer: asyncio.TimerHandle | None = None
        self.timer_at = inf
        self.unsent = 0  # bytes that the vendor had not taken at the last look

    def send(self, reply: Reply, head: bytes, content: bytes, *, is_last: bool) -> None:
        """Write a request with its body, in one piece."""
        self.reply = reply
        self.is_last = is_last
        if content:
            self.transport.writelines((head, content))
        else:
            self.transport.write(head)

    def send_streamed(
        self, reply: Reply, head: bytes, stream: AsyncIterable[bytes], length: int | None, *, is_last: bool
    ) -> None:
        """Write a request; its body follows as it comes."""
        self.send(reply, head, b"", is_last=is_last)
        self.upload = self.loop.create_task(send_body(self, stream, length))
        self.upload.add_done_callback(self.uploaded)

    def uploaded(self, upload: asyncio.Task[None]) -> None:
        """The body was sent, or it broke off: then the vendor gets no end of it."""
        if upload.cancelled():
            return
        error = upload.exception()
        if error is not None and self.upload is upload:
            failure = httpx.WriteError("the request's body broke off")
            failure.__cause__ = error
            self.fail(failure)
        elif self.upload is upload:
            self.upload = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # that of uvloop is none by its class

    def data_received(self, data: bytes) -> None:
        reply = self.reply
        if reply is None:  # nothing was asked: whatever it is, it must not become the reply to the next request
            self.close()
            return
        reply.has_bytes = True
        assert reply.parser is not None
        try:
            reply.parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            reply.keeps_alive = False
            if not reply.is_complete:
                self.fail(httpx.RemoteProtocolError("the vendor's reply is not HTTP, or its head is too large"))
                return
        if reply.is_complete:
            self.finish(reply)
            return
        if reply.has_progressed:
            reply.has_progressed = False
            reply.useless_bytes = 0
        else:
            reply.useless_bytes += len(data)
            if reply.useless_bytes > MOST_HEAD_BYTES:
                self.fail(httpx.RemoteProtocolError("the head of the vendor's reply is too large"))
        if reply.waiter is not None:
            self.deadline = self.loop.time() + reply.read_s

    def finish(self, reply: Reply) -> None:
        """The reply is complete: the connection is used again if both sides allow it, and the request was sent."""
        self.reply = None
        reply.detach()
        if reply.is_paused:
            self.transport.resume_reading()
        if (
            reply.keeps_alive
            and reply.messages == 1
            and not self.is_last
            and self.upload is None
            and not self.is_closed
            and self.transport.get_write_buffer_size() == 0
        ):
            self.pool.release(self)
        else:
            self.close()

    def eof_received(self) -> None:
        self.ended(None)
        self.close()

    def connection_lost(self, error: Exception | None) -> None:
        self.ended(error)
        self.close()
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        self.pool.forget(self)

    def ended(self, error: Exception | None) -> None:
        """Nothing more comes."""
        reply = self.reply
        if reply is None:
            return
        if error is None and reply.ends_with_connection():
            self.reply = None
            reply.detach()
            reply.is_complete = True
            reply.wake()
            return
        failure: httpx.HTTPError
        if reply.has_bytes:
            failure = httpx.RemoteProtocolError("the connection ended before the reply did")
        else:
            failure = httpx.ReadError("the connection ended before a reply came")
        failure.__cause__ = error
        self.fail(failure)

    def fail(self, error: httpx.HTTPError) -> None:
        """End the connection and what waits for it."""
        reply, self.reply = self.reply, None
        if reply is not None:
            reply.fail(error)
        self.close()

    def close(self) -> None:
        """Close it at once; what still waits for it fails."""
        if self.is_closed:
            return
        self.is_closed = True
        reply, self.reply = self.reply, None
        if reply is not None:
            reply.fail(httpx.ReadError("the connection was closed"))
        upload, self.upload = self.upload, None
        if upload is not None:
            upload.cancel()
        self.transport.abort()

    def is_usable(self) -> bool:
        """Whether the vendor has neither closed the connection nor sent anything, as far as is known."""
        return not self.is_closed and not self.transport.is_closing()

    def has_input(self) -> bool:
        """Whether there is something to read that the event loop has not read yet: an end, or what nobody asked for."""
        poll = select.poll()
        poll.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def pause_writing(self) -> None:
        self.is_write_paused = True

    def resume_writing(self) -> None:
        self.is_write_paused = False
        if self.writable is not None and not self.writable.done():
            self.writable.set_result(None)

    async def may_write(self) -> None:
        """Wait until the vendor takes more."""
        if self.is_write_paused:
            self.writable = self.loop.create_future()
            await self.writable

    def expect_by(self, at: float) -> None:
        """Somebody waits for the vendor, until `at` in the event loop's time."""
        self.deadline = at
        if at < self.timer_at:
            self.set_timer(at)

    def set_timer(self, at: float) -> None:
        """Look at the deadline at `at`."""
        if self.timer is not None:
            self.timer.cancel()
        self.timer_at = at
        self.timer = self.loop.call_at(at, self.look)

    def look(self) -> None:
        """Whether the vendor was silent for too long. While it takes the request it is not silent."""
        now = max(self.timer_at, self.loop.time())  # an event loop may round its timers
        self.timer, self.timer_at = None, inf
        reply = self.reply
        if reply is None or reply.waiter is None:  # the next wait sets the timer
            return
        if now < self.deadline:
            self.set_timer(self.deadline)
            return
        unsent = self.transport.get_write_buffer_size()
        if unsent != self.unsent or (self.upload is not None and not self.is_write_paused):
            self.unsent = unsent
            self.expect_by(now + reply.read_s)
            return
        self.fail(httpx.ReadTimeout("nothing came from the vendor in time"))
