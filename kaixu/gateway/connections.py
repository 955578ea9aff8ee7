"""Hypercorn's connections, ended without losing a request."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from time import time
from wsgiref.handlers import format_date_time

from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.protocol import ProtocolWrapper
from hypercorn.protocol.events import Event, Response
from hypercorn.protocol.h2 import H2Protocol

from .app import Application
from .http1.connection import LAST_READ_S, HttpConnection

#: How long a connection stays open without a request once the port is closed: a client whose last reply did not say
#: that the connection ends may be sending its next request.
LINGER_S = 1.0

#: HTTP/2's announcement that a connection takes no further requests (RFC 9113 §6.8); those that were sent are answered.
GOAWAY = b"\x00\x00\x08\x07\x00\x00\x00\x00\x00" + (2**31 - 1).to_bytes(4, "big") + (0).to_bytes(4, "big")


def without_connection_headers() -> None:
    """Make Hypercorn leave the header `connection` out of HTTP/2 replies, where it must not be (RFC 9113 §8.2.2).

    Its library refuses such a reply, and Hypercorn then sends none at all.
    """

    async def reply_for_http_2(self: H2Protocol, event: Event) -> None:
        if isinstance(event, Response):
            event = replace(event, headers=[one for one in event.headers if one[0] != b"connection"])
        await send(self, event)

    send = H2Protocol.stream_send
    if send.__name__ != reply_for_http_2.__name__:
        H2Protocol.stream_send = reply_for_http_2  # type: ignore[method-assign]


class Connections:
    """Serves connections of a listening socket: ordinary HTTP/1.1 requests itself, others with Hypercorn's protocols.

    Hypercorn's own shutdown closes idle connections at once, and new ones whose first request is on its way. Clients
    then see a connection that breaks off after a request was sent, which is an error that they must not answer with a
    second try.
    """

    def __init__(self, app: Application, config: Config, *, keep_alive_s: float) -> None:
        self.serve_request = app.exchange.serve
        self.wrapped_app = ASGIWrapper(app)
        self.config = config
        self.keep_alive_s = keep_alive_s
        self.context = WorkerContext(None)
        self.is_ending = asyncio.Event()
        self.plain: set[HttpConnection] = set()
        self.open: dict[asyncio.Task[None], Connection] = {}  # Hypercorn's
        self.date = (0, b"")

    def accept(self) -> HttpConnection:
        """A new connection."""
        return HttpConnection(self)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection with Hypercorn until it is closed."""
        task = asyncio.current_task()
        assert task is not None
        connection = self.open[task] = Connection(self, reader, writer)
        task.add_done_callback(self.open.pop)
        with contextlib.suppress(asyncio.CancelledError):  # else asyncio's streams log it as an error
            await connection.run()

    def end(self) -> None:
        """Close every connection as soon as it has been idle for a moment; those with a request when it is answered."""
        self.is_ending.set()
        for connection in self.plain:
            connection.end_soon()
        for one in list(self.open.values()):
            one.announce_end()

    def idle_s(self) -> float:
        """How long a connection may be idle."""
        return LINGER_S if self.is_ending.is_set() else self.keep_alive_s

    def date_line(self) -> bytes:
        """The line of a reply's head with the time, which changes once a second."""
        now = int(time())
        if self.date[0] != now:
            self.date = now, f"date: {format_date_time(now)}\r\n".encode()
        return self.date[1]

    async def wait(self, most_s: float) -> bool:
        """Wait until all connections are closed, at most `most_s` seconds; whether they are."""
        if self.open or self.plain:
            await asyncio.wait([*self.open, *(one.until_closed() for one in self.plain)], timeout=most_s)
        return not (self.open or self.plain)

    async def cancel(self, most_s: float) -> None:
        """Cancel the requests of all connections, and close these."""
        for connection in self.plain:
            connection.cancel()
        for task in self.open:
            task.cancel()
        await self.wait(most_s)


class Connection(TCPServer):
    """One connection."""

    def __init__(self, all_of: Connections, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(all_of.wrapped_app, loop, all_of.config, all_of.context, {}, reader, writer)
        self.all_of = all_of

    async def _read_data(self) -> None:
        """Read until the client sends nothing more; then there is no next request to wait for."""
        await super()._read_data()
        await self.idle_task.stop()

    async def _idle_timeout(self) -> None:
        """Close the connection unless this is cancelled by a request."""
        if not self.reader.at_eof():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.all_of.keep_alive_s):
                    await self.all_of.is_ending.wait()
                    await asyncio.sleep(LINGER_S)
        self.end_by_force()
        await asyncio.shield(self._initiate_server_close())

    async def _close(self) -> None:
        """Close the connection after what has been written."""
        timer = self.end_by_force()
        try:
            await super()._close()
        finally:
            timer.cancel()

    def end_by_force(self) -> asyncio.TimerHandle:
        """End the connection even if the client does not read what has been written."""
        return self.loop.call_later(LAST_READ_S, self.writer.transport.abort)

    def announce_end(self) -> None:
        """Tell an HTTP/2 client to make no further requests here; to HTTP/1 clients the headers of replies say that."""
        protocol: ProtocolWrapper | None = getattr(self, "protocol", None)  # None: it has only just been accepted
        if protocol is not None and isinstance(protocol.protocol, H2Protocol) and not self.writer.is_closing():
            with contextlib.suppress(OSError, RuntimeError):  # the client has gone
                self.writer.write(GOAWAY)
