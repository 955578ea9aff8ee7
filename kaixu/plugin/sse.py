"""Reading a vendor's server-sent events: bytes in, events out, however the bytes were cut."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
from msgspec import Struct

from kaixu.plugin.errors import UpstreamError

#: One event may not grow past this; a vendor that never ends its line must not eat the memory.
MOST_EVENT_BYTES = 16 * 1024 * 1024


class ServerSentEvent(Struct, frozen=True):
    """One event: its name ("message" where none was given) and its data lines joined by newlines."""

    event: str
    data: bytes


async def server_sent_events(response: httpx.Response) -> AsyncIterator[ServerSentEvent]:
    """The events of `response`, as WHATWG's "Server-sent events" §9.2.6 reads them.

    Takes LF, CRLF and CR line ends and an end without a newline: a last event that
    no blank line closed is still given, for some vendors end that way. Data is
    handed on as bytes, so that a character cut in two by the network is whole again.

    Raises `UpstreamError` when one event is larger than 16 MiB.
    """
    rest = b""
    name = "message"
    data: list[bytes] = []
    size = 0
    async for chunk in response.aiter_bytes():
        text = rest + chunk if rest else chunk
        # A CR at the very end may be half of a CRLF: leave it for the next chunk.
        if b"\r" in text:
            held = text.endswith(b"\r")
            text = (text[:-1] if held else text).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            if held:
                text += b"\r"
        lines = text.split(b"\n")
        rest = lines.pop()
        for line in lines:
            if not line:
                if data:
                    yield ServerSentEvent(name, data[0] if len(data) == 1 else b"\n".join(data))
                    data = []
                    size = 0
                name = "message"
            elif line.startswith(b"data:"):
                value = line[6:] if line[5:6] == b" " else line[5:]
                data.append(value)
                size += len(value)
            elif line.startswith(b"event:"):
                name = line[6:].strip().decode("utf-8", "replace")
        if len(rest) + size > MOST_EVENT_BYTES:
            raise UpstreamError("the vendor sent an event that does not end")
    rest = rest.rstrip(b"\r")
    if rest.startswith(b"data:"):
        data.append(rest[6:] if rest[5:6] == b" " else rest[5:])
    if data:
        yield ServerSentEvent(name, b"\n".join(data))
