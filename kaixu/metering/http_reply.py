"""The reply to one request: its head and its body, as they arrive on the connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from math import inf
from typing import TYPE_CHECKING

import httpx
from httptools import HttpResponseParser

if TYPE_CHECKING:
    from .http_connection import Connection

#: The most bytes of a head, and of trailers, with all interim replies before it.
MOST_HEAD_BYTES = 64 * 1024
MOST_HEADERS = 256

#: Reading from the connection pauses above so many bytes, until somebody takes them.
HIGH_WATER = 256 * 1024


class HeadTooLarge(Exception):
    """A reply's head or trailers exceed the limits."""


class NotAnAnswer(Exception):
    """The reply switches to another protocol, which nothing asked for."""


class Reply(httpx.AsyncByteStream):
    """The reply to a request, and its body as a stream. Methods that begin with `on_` are the parser's callbacks.

    `read_s`: the longest time without a byte while somebody waits for one.
    """

    def __init__(self, connection: Connection, *, has_body: bool, read_s: float = inf) -> None:
        self.connection: Connection | None = connection  # until the reply is complete or has failed
        self.has_body = has_body
        self.read_s = read_s
        self.parser: HttpResponseParser | None = new_parser(self)  # likewise: it holds the reply, too
        self.status = 0
        self.headers: list[tuple[bytes, bytes, bytes]] = []  # as sent, in lower case, value
        self.is_ascii = True  # all values are
        self.head_bytes = 0
        self.has_head = False
        self.has_bytes = False  # anything has arrived
        self.pieces: list[bytes] = []
        self.size = 0  # of `pieces`
        self.is_paused = False
        self.is_complete = False
        self.keeps_alive = False  # the vendor allows another request on the connection
        self.messages = 0  # that have begun, without interim replies: a second one is nobody's
        self.has_progressed = False  # since the last look
        self.useless_bytes = 0  # that came without any progress
        self.error: httpx.HTTPError | None = None
        self.waiter: asyncio.Future[None] | None = None

    def on_message_begin(self) -> None:
        self.messages += 1

    def on_header(self, name: bytes, value: bytes) -> None:
        self.head_bytes += len(name) + len(value) + 4
        if self.head_bytes > MOST_HEAD_BYTES or len(self.headers) >= MOST_HEADERS:
            raise HeadTooLarge
        if self.has_head:  # a trailer
            return
        if not value.isascii():
            self.is_ascii = False
        self.headers.append((name, name.lower(), value))

    def on_headers_complete(self) -> None:
        if self.has_head:
            return
        parser = self.parser
        assert parser is not None
        status = parser.get_status_code()
        if status < 200:  # an interim reply
            if status == 101:
                raise NotAnAnswer
            self.headers.clear()
            return
        self.status = status
        self.has_head = self.has_progressed = True
        self.keeps_alive = parser.should_keep_alive()
        if not self.has_body:
            self.is_complete = True
        self.wake()

    def on_body(self, data: bytes) -> None:
        if self.is_complete:
            self.messages += 1  # the body of a reply that has none
            return
        self.pieces.append(data)
        self.size += len(data)
        self.has_progressed = True
        if self.size > HIGH_WATER and not self.is_paused and self.connection is not None:
            self.is_paused = True
            self.connection.transport.pause_reading()
        if self.waiter is not None:
            self.wake()

    def on_message_complete(self) -> None:
        if not self.has_head:
            self.messages -= 1
            return
        self.is_complete = True
        if self.waiter is not None:
            self.wake()

    def wake(self) -> None:
        """Something has come, or nothing will."""
        waiter = self.waiter
        if waiter is not None:
            self.waiter = None
            if not waiter.done():
                waiter.set_result(None)

    def fail(self, error: httpx.HTTPError) -> None:
        """Nothing will come any more. What has come can still be read."""
        self.detach()
        self.error = error
        self.wake()

    def detach(self) -> None:
        """Nothing of the connection concerns the reply any more."""
        self.connection = self.parser = None

    def ends_with_connection(self) -> bool:
        """Whether only the end of the connection ends the body (RFC 9112 §6.3)."""
        if not self.has_head:
            return False
        chunked = None
        for _, name, value in self.headers:
            if name == b"content-length":
                return False
            if name == b"transfer-encoding":
                chunked = value.lower().rstrip().endswith(b"chunked")
        return not chunked

    def more(self) -> asyncio.Future[None]:
        """Done when something has come, or nothing will."""
        connection = self.connection
        if connection is None:
            raise self.error or httpx.ReadError("the reply is closed")
        loop = connection.loop
        waiter = self.waiter = loop.create_future()
        connection.expect_by(loop.time() + self.read_s)
        return waiter

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        """What has come since. Raises `httpx.HTTPError` if the connection broke, or nothing came in time."""
        while not self.pieces:
            if self.is_complete:
                raise StopAsyncIteration
            await self.more()
        pieces = self.pieces
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self.size = 0
        if self.is_paused:
            self.resume()
        return data

    def resume(self) -> None:
        """Read from the connection again."""
        self.is_paused = False
        if self.connection is not None:
            self.connection.transport.resume_reading()

    async def aclose(self) -> None:
        """Nobody reads any more. A connection on which the rest is still to come is of no use."""
        self.close()

    def close(self) -> None:
        """See `aclose`."""
        connection = self.connection
        if connection is not None:
            connection.close()
        self.pieces.clear()


def new_parser(reply: Reply) -> HttpResponseParser:
    """A parser that takes what real servers send: lines that end in LF alone, and spaces behind a chunk's size."""
    parser = HttpResponseParser(reply)
    parser.set_dangerous_leniencies(
        lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
    )
    return parser
