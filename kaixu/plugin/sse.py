"""Parses server-sent events from a stream of chunks."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
from msgspec import Struct

from kaixu.plugin.errors import UpstreamError

#: Size limit of one event and of one line, against vendors that never end them.
MOST_EVENT_BYTES = 16 * 1024 * 1024
#: Memory that Python adds to each line, so that an event of very many tiny lines is limited too.
LINE_OVERHEAD_BYTES = 41
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class ServerSentEvent(Struct, frozen=True):
    """One event: its name ("message" by default) and its data lines joined by newlines."""

    event: str
    data: bytes


async def server_sent_events(response: httpx.Response) -> AsyncIterator[ServerSentEvent]:
    """The events of `response`, parsed as in WHATWG's "Server-sent events" §9.2.6.

    Accepts LF, CRLF and CR. A last event without its blank line is still returned,
    because some vendors end that way. Data is bytes, so a character that the network
    cut in two is complete again.

    Raises `UpstreamError` when one event is larger than 16 MiB.
    """
    reader = SSEReader()
    async for chunk in response.aiter_bytes():
        for event in reader.feed(chunk):
            yield event
    for event in reader.feed(b"\n\n"):
        yield event


class SSEReader:
    """Parses chunks; keeps the unfinished line and the lines of the unfinished event."""

    __slots__ = ("after_return", "begun", "data", "data_size", "line", "name")

    def __init__(self) -> None:
        self.begun = False
        self.after_return = False  # the last chunk ended with CR: a following LF belongs to it
        self.line = bytearray()  # the unfinished line; grows in place
        self.data: list[bytes] = []
        self.data_size = 0
        self.name = "message"

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """The events that `chunk` completes. Raises `UpstreamError` when one of them grows too large."""
        if (
            chunk.startswith(b"data: ")
            and chunk.endswith(b"\n\n")
            and not self.line
            and not self.data
            and self.name == "message"
            and b"\r" not in chunk
        ):  # the usual case: whole events, each of one line of data
            pieces = chunk[6:-2].split(b"\n\ndata: ")
            if chunk.count(b"\n") == 2 * len(pieces):
                self.begun, self.after_return = True, False
                return [ServerSentEvent("message", piece) for piece in pieces]
        if self.after_return and chunk.startswith(b"\n"):
            chunk = chunk[1:]
            self.after_return = False
        if not chunk:
            return []
        if b"\r" in chunk:
            self.after_return = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        else:
            self.after_return = False
        if self.line:
            if b"\n" not in chunk:
                self.keep(chunk)
                return []
            chunk = bytes(self.line + chunk)
            self.line = bytearray()
        lines = chunk.split(b"\n")
        if rest := lines.pop():
            self.keep(rest)
        if not self.begun and lines:
            self.begun = True
            lines[0] = lines[0].removeprefix(BYTE_ORDER_MARK)
        return self.events(lines)

    def events(self, lines: list[bytes]) -> list[ServerSentEvent]:
        """The events that these complete `lines` finish."""
        events: list[ServerSentEvent] = []
        data = self.data
        for line in lines:
            if not line:
                if data:
                    joined = data[0] if len(data) == 1 else b"\n".join(data)
                    events.append(ServerSentEvent(self.name, joined))
                    data.clear()
                    self.data_size = 0
                self.name = "message"
            elif line.startswith(b"data:"):
                data.append(line[6:] if line[5:6] == b" " else line[5:])
                self.data_size += len(line) + LINE_OVERHEAD_BYTES
            elif line.startswith(b"event:"):
                self.name = line[6:].strip().decode("utf-8", "replace") or "message"
            elif line == b"data":
                data.append(b"")
                self.data_size += len(line) + LINE_OVERHEAD_BYTES
        if self.data_size > MOST_EVENT_BYTES:
            raise too_large()
        return events

    def keep(self, piece: bytes) -> None:
        """Append to the unfinished line."""
        self.line += piece
        if len(self.line) + self.data_size > MOST_EVENT_BYTES:
            raise too_large()


def too_large() -> UpstreamError:
    """The error for an event that is too large."""
    return UpstreamError(f"the vendor sent an event of more than {MOST_EVENT_BYTES >> 20} MiB")
