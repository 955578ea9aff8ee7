"""A vendor's answer as JSON documents, however they are packed: the body decides what it is, not its label."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

import httpx
import msgspec
from msgspec import Struct

from kaixu.plugin.errors import UpstreamError
from kaixu.plugin.lines import LineReader
from kaixu.plugin.sse import SSEReader
from kaixu.plugin.surrogates import Joiner

#: The most of an answer in one piece; events and lines are bounded by themselves.
MOST_WHOLE_BYTES = 160 * 1024 * 1024
#: How long a vendor may take to end a stream after it said it is done, in seconds.
LONGEST_GOODBYE_S = 0.25
#: What may come before an answer: blanks and line ends to keep the connection, and a byte order mark.
BEFORE = b" \t\r\n\xef\xbb\xbf"

Note = Callable[[str], None]


class Document(Struct, frozen=True):
    """One JSON object of an answer, and the name of the event that it came in ("message" where it had none)."""

    event: str
    data: dict[str, Any]


class AnswerReader:
    """Reads one answer: server-sent events, JSON lines, or JSON in one piece, whatever its content-type says.

    Empty events and comments are passed over. What is no JSON object is passed over with a note, and `unreadable`
    says that there was such a thing. Characters that were cut into two surrogates are whole again.
    """

    def __init__(self, response: httpx.Response, note: Note) -> None:
        self.response = response
        self.note = note
        self.done = False  # the vendor said `[DONE]`
        self.streamed = True  # it came as events
        self.unreadable = False
        self.lost = False  # a piece was no JSON at all, so something of the answer is missing
        self.found = False  # something came that an answer could be made of
        self.chunks: AsyncIterator[bytes] = aiter(response.aiter_bytes())

    async def documents(self) -> AsyncGenerator[Document, None]:
        """The documents of the answer, up to its end or its `[DONE]`. Raises `UpstreamError` for one too large."""
        joiner = Joiner()
        events: list[str] = []
        async for event, data in self.pieces():
            if b"[DONE]" in data[:16] and data.strip() == b"[DONE]":
                self.done = True
                break
            values = self.values(data)
            if not joiner.waiting and len(values) == 1 and values[0][1]:  # as nearly all are
                yield Document(event, values[0][0])
                continue
            for value, clean in values:
                events.append(event)
                for ready in joiner.feed(value, clean=clean):
                    yield Document(events.pop(0), ready)
        for ready in joiner.rest():
            yield Document(events.pop(0), ready)
        if not self.found and "json" in self.response.headers.get("content-type", ""):
            self.unreadable = True

    async def drain(self) -> None:
        """Read to the end of a stream that is done, for only then can its connection serve the next call.

        A vendor that does not hang up is not waited for: it costs a connection, never the answer.
        """
        with contextlib.suppress(TimeoutError, UpstreamError, httpx.HTTPError):
            async with asyncio.timeout(LONGEST_GOODBYE_S):
                async for _ in self.chunks:
                    pass

    async def pieces(self) -> AsyncGenerator[tuple[str, bytes], None]:
        """The events' names and data; of lines, and of an answer in one piece, just the data."""
        start = b""
        async for chunk in self.chunks:
            start += chunk
            if chunk.strip(BEFORE):
                break
            start = start[-len(BEFORE) :]  # only blanks so far, and nothing depends on how many
        self.streamed = start.lstrip(BEFORE)[:1] not in (b"{", b"[")
        pieces = self.events(start) if self.streamed else self.json_pieces(start)
        async for piece in pieces:
            self.found = True
            yield piece

    async def events(self, start: bytes) -> AsyncGenerator[tuple[str, bytes], None]:
        """Server-sent events."""
        reader = SSEReader()
        for event in reader.feed(start):
            yield event.event, event.data
        async for chunk in self.chunks:
            for event in reader.feed(chunk):
                yield event.event, event.data
        for event in reader.feed(b"\n\n"):
            yield event.event, event.data

    async def json_pieces(self, start: bytes) -> AsyncGenerator[tuple[str, bytes], None]:
        """JSON lines where the first line is JSON by itself, else one piece."""
        lines = LineReader()
        first = lines.feed(start.lstrip(BEFORE))
        while not first:
            chunk = await anext(self.chunks, None)
            first = lines.feed(b"\n" if chunk is None else chunk)
            if chunk is None:
                break
        if not first:
            return
        if decoded(first[0]) is not None:
            for line in first:
                yield "message", line.removeprefix(b"data:")
            async for chunk in self.chunks:
                for line in lines.feed(chunk):
                    yield "message", line.removeprefix(b"data:")
            for line in lines.feed(b"\n"):
                yield "message", line.removeprefix(b"data:")
            return
        whole = bytearray(b"\n".join([*first, bytes(lines.line)]))
        async for chunk in self.chunks:
            whole += chunk
            if len(whole) > MOST_WHOLE_BYTES:
                raise UpstreamError(f"the vendor's answer is larger than {MOST_WHOLE_BYTES >> 20} MiB")
        yield "message", bytes(whole)

    def values(self, data: bytes) -> list[tuple[dict[str, Any], bool]]:
        """The objects that a piece of the answer holds, each with whether every text in it is whole."""
        read = decoded(data) if data else None
        if read is None and not data.strip():
            return []  # some vendors send an empty event to keep the connection
        if read is None:
            self.unreadable = self.lost = True
            self.note("a piece of the answer that is no JSON was passed over")
            return []
        value, clean = read
        if isinstance(value, dict):
            return [(value, clean)]
        objects = [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
        if not objects and value is not None:
            self.unreadable = True
            self.note("a piece of the answer that is no JSON object was passed over")
        return [(one, clean) for one in objects]


def decoded(data: bytes) -> tuple[Any, bool] | None:
    """A JSON value, and whether every text in it is whole; None for what is no JSON.

    What a strict reader refuses, and many vendors send, is read all the same: half a surrogate pair, NaN, numbers
    beyond 64 bits, bytes that are no UTF-8 within a text.
    """
    try:
        return msgspec.json.decode(data), True
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return json.loads(data.decode("utf-8", "replace")), False
    except (ValueError, RecursionError):
        return None


def object_in(data: bytes) -> dict[str, Any]:
    """The JSON object that a whole body is. Raises `UpstreamError`, never with the vendor's words."""
    joiner = Joiner()
    read = decoded(data.strip(BEFORE))
    if read is None or not isinstance(read[0], dict):
        raise UpstreamError("the vendor's answer cannot be read")
    joiner.feed(read[0], clean=read[1])
    joiner.rest()
    value: dict[str, Any] = read[0]
    return value
