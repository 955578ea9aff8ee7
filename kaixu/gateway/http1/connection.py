"""A connection whose ordinary requests are answered one after the other; the first other one goes to Hypercorn."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, cast

from .cycle import MAX_UNREAD_BYTES, RequestCycle
from .head import parse_head

if TYPE_CHECKING:
    from kaixu.gateway.connections import Connections

#: How long a client may take to read the rest of what was written, once the connection is to be closed.
LAST_READ_S = 60.0


class HttpConnection(asyncio.Protocol):
    """One connection. Requests that a client sends before it has the reply to the last one wait for it.

    Once a request is not ordinary, Hypercorn serves this connection to its end.
    """

    transport: asyncio.Transport
    timer: asyncio.TimerHandle

    def __init__(self, connections: Connections) -> None:
        self.connections = connections
        self.loop = asyncio.get_running_loop()
        self.cycle: RequestCycle | None = None
        self.task: asyncio.Task[None] | None = None
        self.unread = b""
        self.requests = 0
        self.idle_since = self.loop.time()
        self.is_reading = True
        self.has_eof = False
        self.writable: asyncio.Event | None = None  # while the client does not read
        self.closed: asyncio.Future[None] | None = None
        self.client: tuple[str, int] | None = None
        self.server: tuple[str, int | None] | None = None

    # Events of the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        self.transport = cast(asyncio.Transport, transport)
        peer, own = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        if isinstance(peer, tuple):  # else the client has gone
            self.client, self.server = peer[:2], own[:2]
        self.connections.plain.add(self)
        self.timer = self.loop.call_later(self.connections.idle_s(), self.look)

    def data_received(self, data: bytes) -> None:
        """Bytes of the current request's body, or of further requests."""
        if self.cycle is not None:
            data = self.cycle.take(data)
            if data:
                self.unread += data
                if len(self.unread) > MAX_UNREAD_BYTES:
                    self.pause_reading()
            return
        self.unread = self.unread + data if self.unread else data
        self.begin_request()

    def eof_received(self) -> bool:
        """The client sends nothing more: it has left, but may still read. True: do not close yet."""
        self.has_eof = True
        if self.cycle is None:
            return False
        self.cycle.leave()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is closed."""
        self.has_eof = True
        if self.cycle is not None:
            self.cycle.leave()
        if self.writable is not None:
            self.writable.set()
            self.writable = None
        self.leave()

    def pause_writing(self) -> None:
        """The client reads more slowly than we write."""
        self.writable = asyncio.Event()

    def resume_writing(self) -> None:
        """The client has read."""
        if self.writable is not None:
            self.writable.set()
            self.writable = None

    # Requests

    def begin_request(self) -> None:
        """Begin with the next request in `unread`."""
        head = parse_head(self.unread)
        if head is None:
            self.hand_over()
            return
        whole = head.size + head.length
        body, self.unread = self.unread[head.size : whole], self.unread[whole:]
        self.requests += 1
        self.cycle = cycle = RequestCycle(self, head, body)
        self.task = self.loop.create_task(cycle.run())

    def next_request(self) -> None:
        """The current request has ended: go on with the next one, or close."""
        cycle, self.cycle, self.task = self.cycle, None, None
        assert cycle is not None
        if self.transport.is_closing():
            return
        if not cycle.is_complete:
            self.break_off()
            return
        if not cycle.keeps_connection or self.has_eof:
            self.close()
            return
        self.idle_since = self.loop.time()
        if self.connections.is_ending.is_set():
            self.look_in(self.connections.idle_s())
        self.resume_reading()
        if self.unread:
            self.begin_request()

    def hand_over(self) -> None:
        """Let Hypercorn serve this connection from here on."""
        self.timer.cancel()
        reader = asyncio.StreamReader(loop=self.loop)
        protocol = asyncio.StreamReaderProtocol(reader, self.connections.serve, loop=self.loop)
        self.transport.set_protocol(protocol)
        protocol.connection_made(self.transport)
        if self.writable is not None:
            protocol.pause_writing()
        protocol.data_received(self.unread)
        self.unread = b""
        self.loop.call_soon(self.leave)  # once Hypercorn's task has begun

    # Reading and writing

    def write(self, data: bytes) -> None:
        """Write to the client, unless the connection is closed."""
        if not self.transport.is_closing():
            self.transport.write(data)

    def pause_reading(self) -> None:
        """Let the client wait."""
        if self.is_reading and not self.transport.is_closing():
            self.is_reading = False
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        if not self.is_reading and not self.transport.is_closing():
            self.is_reading = True
            self.transport.resume_reading()

    # The end

    def takes_more(self) -> bool:
        """Whether the connection may have a further request."""
        return self.requests <= self.connections.config.keep_alive_max_requests

    def look(self) -> None:
        """Close the connection if it has been idle for too long; else look again."""
        idle_s = self.connections.idle_s()
        left_s = idle_s if self.cycle is not None else self.idle_since + idle_s - self.loop.time()
        if left_s > 0:
            self.look_in(left_s)
        else:
            self.close()

    def look_in(self, seconds: float) -> None:
        """Look in `seconds`, not at the time that was set before."""
        self.timer.cancel()
        self.timer = self.loop.call_later(seconds, self.look)

    def end_soon(self) -> None:
        """Close as soon as the connection has been idle for a moment."""
        if not self.transport.is_closing():
            self.idle_since = self.loop.time()
            self.look_in(self.connections.idle_s())

    def cancel(self) -> None:
        """Cancel the request, and close the connection."""
        if self.task is None:
            self.close()
        else:
            self.task.add_done_callback(lambda _: self.close())  # also if it has not begun
            self.task.cancel()

    def close(self) -> None:
        """Close the connection after what has been written, which a client that does not read cannot prevent."""
        if not self.transport.is_closing():
            with contextlib.suppress(OSError, RuntimeError, NotImplementedError):
                self.transport.write_eof()
            self.transport.close()
            self.timer.cancel()
            self.timer = self.loop.call_later(LAST_READ_S, self.transport.abort)

    def break_off(self) -> None:
        """Close the connection after a reply that is not whole; at once if the client does not read."""
        if self.writable is None:
            self.close()
        else:
            self.transport.abort()

    def leave(self) -> None:
        """The connection is closed, or handed over."""
        self.timer.cancel()
        self.connections.plain.discard(self)
        if self.closed is not None and not self.closed.done():
            self.closed.set_result(None)

    def until_closed(self) -> asyncio.Future[None]:
        """Ends when the connection is closed, or handed over."""
        if self.closed is None:
            self.closed = self.loop.create_future()
        return self.closed
