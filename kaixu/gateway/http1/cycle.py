"""One request on a connection: what the application receives of it, and sends as its reply."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote

from hypercorn.typing import (
    ASGIReceiveEvent,
    ASGISendEvent,
    HTTPResponseBodyEvent,
    HTTPResponseStartEvent,
    HTTPScope,
)

from .head import RequestHead

if TYPE_CHECKING:
    from .connection import HttpConnection

log = logging.getLogger(__name__)

#: Of a body that the application does not read, so many bytes are kept before the client must wait.
MAX_UNREAD_BYTES = 64 * 1024

#: What the lines of a reply's head must look like: names in lower case, no line breaks in values.
REPLY_LINES = re.compile(rb"(?:[-!#$%&'*+.^_`|~0-9a-z]+: [\t -~\x80-\xff]*\r\n)*")

BODYLESS = frozenset({204, 304})

UNANSWERED: HTTPResponseStartEvent = {
    "type": "http.response.start",
    "status": 500,
    "headers": [(b"content-length", b"0"), (b"connection", b"close")],
    "trailers": False,
}
DISCONNECT: ASGIReceiveEvent = {"type": "http.disconnect"}


class RequestCycle:
    """A request and its reply. `keeps_connection`: whether another request may follow once both are complete.

    The head of a reply with a `content-length` is written together with the first piece of its body; that of a stream
    is written at once.
    """

    __slots__ = (
        "changed",
        "connection",
        "has_left",
        "head",
        "is_bodyless",
        "is_chunked",
        "is_complete",
        "keeps_connection",
        "missing",
        "pending",
        "status",
        "unread",
        "unreceived",
    )

    def __init__(self, connection: HttpConnection, head: RequestHead, body: bytes) -> None:
        self.connection = connection
        self.head = head
        self.unread: bytes | None = body  # None: the whole body has been read
        self.unreceived = head.length - len(body)
        self.has_left = False
        self.changed: asyncio.Event | None = None
        self.pending = b""  # the reply's head, until it is written
        self.status: int | None = None
        self.missing: int | None = None  # of the reply's content-length
        self.is_bodyless = self.is_chunked = self.is_complete = False
        self.keeps_connection = head.keep_alive

    def scope(self) -> HTTPScope:
        """The request as ASGI describes it."""
        head, connection = self.head, self.connection
        path, _, query = head.target.partition(b"?")
        text = path.decode("ascii")
        return {
            "type": "http",
            "asgi": {"spec_version": "2.1", "version": "3.0"},
            "http_version": "1.1",
            "method": head.method,
            "scheme": "http",
            "path": unquote(text) if "%" in text else text,
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": head.headers,
            "client": connection.client,
            "server": connection.server,
            "state": cast(Any, {}),
            "extensions": {},
        }

    async def run(self) -> None:
        """Let the application answer."""
        try:
            await self.connection.connections.serve_request(self.scope(), self.receive, self.send)
        except Exception:
            log.exception("the application failed")
        finally:
            self.end()

    def end(self) -> None:
        """The application has ended, perhaps without a whole reply: then the connection ends, too."""
        if not self.is_complete:
            self.keeps_connection = False
            if self.status is None and not self.has_left:
                self.begin(UNANSWERED)
            if self.pending:
                self.connection.write(self.pending)
        elif self.unreceived or self.has_left:
            self.keeps_connection = False
        self.connection.next_request()

    # What the client sends

    def take(self, data: bytes) -> bytes:
        """Take what belongs to the body, and return the rest."""
        if not self.unreceived:
            return data
        part, rest = data[: self.unreceived], data[self.unreceived :]
        self.unreceived -= len(part)
        self.unread = self.unread + part if self.unread else part
        if len(self.unread) > MAX_UNREAD_BYTES:
            self.connection.pause_reading()
        self.wake()
        return rest

    def leave(self) -> None:
        """The client has closed the connection, or its sending half."""
        self.has_left = True
        self.wake()

    def wake(self) -> None:
        """Let whoever waits in `receive` look again."""
        if self.changed is not None:
            self.changed.set()

    async def receive(self) -> ASGIReceiveEvent:
        """What has arrived of the body; then, when the client has left or the reply is complete, the end."""
        while True:
            if self.unread is not None and (self.unread or not self.unreceived):
                body, self.unread = self.unread, b"" if self.unreceived else None
                self.connection.resume_reading()
                return {"type": "http.request", "body": body, "more_body": self.unreceived > 0}
            if self.has_left or self.is_complete:
                return DISCONNECT
            if self.changed is None:
                self.changed = asyncio.Event()
            self.changed.clear()
            await self.changed.wait()

    # What the client gets

    async def send(self, message: ASGISendEvent) -> None:
        """Write a reply's head or a piece of its body; waits while the client does not read."""
        connection = self.connection
        if message["type"] == "http.response.body" and self.status is not None and not self.is_complete:
            data = self.body_part(message)
            if self.pending:
                data, self.pending = self.pending + data, b""
        elif message["type"] == "http.response.start" and self.status is None:
            self.begin(message)
            if self.missing is not None:
                return
            data, self.pending = self.pending, b""
        else:
            raise RuntimeError(f"{message['type']} at this point of a reply")
        if data:
            connection.write(data)
        if connection.writable is not None:
            await connection.writable.wait()

    def begin(self, message: HTTPResponseStartEvent) -> None:
        """Make the reply's head. Raises `ValueError` for a header that would break its line."""
        status, headers = message["status"], list(message["headers"])
        lines = b"".join([b"%b: %b\r\n" % one for one in headers])
        # A line break within a header would make a further line.
        if lines.count(b"\n") != len(headers) or not REPLY_LINES.fullmatch(lines):
            raise ValueError("a reply has a header that is not allowed")
        by_name = dict(headers)
        length, says_close = by_name.get(b"content-length"), by_name.get(b"connection") == b"close"
        end = b"\r\n"
        if length is not None:
            self.missing = int(length)
        elif status not in BODYLESS:
            self.is_chunked = True
            end = b"transfer-encoding: chunked\r\n\r\n"
        if says_close or not self.connection.takes_more():
            self.keeps_connection = False
        if not self.keeps_connection and not says_close:
            end = b"connection: close\r\n" + end
        self.is_bodyless = status in BODYLESS or self.head.method == "HEAD"
        self.status = status
        self.pending = b"HTTP/1.1 %d \r\n%b%b%b" % (status, lines, self.connection.connections.date_line(), end)

    def body_part(self, message: HTTPResponseBodyEvent) -> bytes:
        """A piece of the body as it is written, perhaps with its end."""
        data = b"" if self.is_bodyless else message.get("body", b"")
        if self.missing is not None:
            self.missing -= len(data)
            if self.missing < 0:
                raise ValueError("a reply is longer than its content-length")
        elif data and self.is_chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        if not message.get("more_body", False):
            self.is_complete = True
            if self.missing and not self.is_bodyless:
                self.keeps_connection = False  # the client sees that the reply is not whole
            elif self.is_chunked and not self.is_bodyless:
                data += b"0\r\n\r\n"
            self.wake()
        return data
