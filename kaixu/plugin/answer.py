"""Reads a vendor's response as JSON documents: events, lines or one piece. The body decides, not the content-type."""

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
from kaixu.plugin.sse import ServerSentEvent, SSEReader
from kaixu.plugin.surrogates import Joiner

#: Size limit of a response in one piece; events and lines have limits of their own.
MOST_WHOLE_BYTES = 160 * 1024 * 1024
#: How long a vendor may take to close a stream after `[DONE]`.
DRAIN_TIMEOUT_S = 0.25
#: Characters that may precede a response: white space that keeps the connection open, and a byte order mark.
LEADING = b" \t\r\n\xef\xbb\xbf"

Note = Callable[[str], None]
DECODER = msgspec.json.Decoder()
#: What it raises for data that is not strict JSON.
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class Document(Struct, frozen=True):
    """One JSON object of a response, and the name of its event ("message" if it has none)."""

    event: str
    data: dict[str, Any]


class AnswerReader:
    """Reads one response: server-sent events, JSON lines or one JSON document, whatever its content-type is.

    Skips empty events and comments. Skips anything that is not a JSON object, adds a note and sets `unreadable`.
    Joins characters that were cut into two surrogates.
    """

    def __init__(self, response: httpx.Response, note: Note) -> None:
        self.response = response
        self.note = note
        self.done = False  # `[DONE]` was received
        self.streamed = True  # the response is a stream of events
        self.unreadable = False
        self.lost = False  # a piece was not JSON at all, so a part of the answer is missing
        self.has_pieces = False  # at least one piece of data was received
        self.chunks: AsyncIterator[bytes] = aiter(response.aiter_bytes())
        self.start: bytes | None = None  # the beginning of the body, once it was read
        self.joiner = Joiner()
        self.names: list[str] = []  # of the documents that wait in `joiner`

    async def whole(self) -> dict[str, Any] | None:
        """The answer, if it is one document that came in one chunk; then there is nothing more to read.

        None: read it with `batches` or `documents`.
        """
        self.start = await self.first_chunk()
        document = self.whole_in(self.start)
        if document is not None:
            self.streamed, self.has_pieces = False, True
        return document

    async def batches(self) -> AsyncGenerator[list[Document], None]:
        """The documents of the response, those that came together in one list, up to its end or `[DONE]`.

        Raises `UpstreamError` if it is too large.
        """
        if self.start is None and (document := await self.whole()) is not None:
            yield [Document("message", document)]
            return
        start = self.start or b""
        self.streamed = start.lstrip(LEADING)[:1] not in (b"{", b"[")
        if self.streamed:
            reader = SSEReader()
            if documents := self.documents_in(reader.feed(start)):
                yield documents
            if not self.done:
                async for chunk in self.chunks:
                    if documents := self.documents_in(reader.feed(chunk)):
                        yield documents
                    if self.done:
                        break
                else:
                    if documents := self.documents_in(reader.feed(b"\n\n")):
                        yield documents
        else:
            async for pieces in self.json_pieces(start):
                if documents := self.documents_in(pieces):
                    yield documents
                if self.done:
                    break
        if documents := self.named(self.joiner.rest()):
            yield documents
        if not self.has_pieces and "json" in self.response.headers.get("content-type", ""):
            self.unreadable = True

    async def documents(self) -> AsyncGenerator[Document, None]:
        """As `batches`, one by one."""
        async for documents in self.batches():
            for document in documents:
                yield document

    async def drain(self) -> None:
        """Read a finished stream to its end, so that its connection can be reused.

        If the vendor does not end it in time, the connection is given up; the answer is complete anyway.
        """
        with contextlib.suppress(TimeoutError, UpstreamError, httpx.HTTPError):
            async with asyncio.timeout(DRAIN_TIMEOUT_S):
                async for _ in self.chunks:
                    pass

    async def first_chunk(self) -> bytes:
        """The beginning of the body, at least its first character that is not white space."""
        start = b""
        async for chunk in self.chunks:
            start += chunk
            if chunk.strip(LEADING):
                break
            start = start[-len(LEADING) :]  # only white space so far
        return start

    def whole_in(self, start: bytes) -> dict[str, Any] | None:
        """The document, where it is all of the body and came in one chunk: the usual case of a short answer."""
        if start[:1] != b"{" or self.response.headers.get("content-length") != str(len(start)):
            return None
        try:
            document = DECODER.decode(start)
        except UNREADABLE:
            return None
        return document if isinstance(document, dict) else None

    async def json_pieces(self, start: bytes) -> AsyncGenerator[list[ServerSentEvent], None]:
        """JSON lines if the first line is JSON by itself, else one document; all with the name "message"."""
        lines = LineReader()
        first = lines.feed(start.lstrip(LEADING))
        while not first:
            chunk = await anext(self.chunks, None)
            first = lines.feed(b"\n" if chunk is None else chunk)
            if chunk is None:
                break
        if not first:
            return
        if decoded(first[0]) is not None:
            yield [line_event(line) for line in first]
            async for chunk in self.chunks:
                yield [line_event(line) for line in lines.feed(chunk)]
            yield [line_event(line) for line in lines.feed(b"\n")]
            return
        whole = bytearray(b"\n".join([*first, bytes(lines.line)]))
        async for chunk in self.chunks:
            whole += chunk
            if len(whole) > MOST_WHOLE_BYTES:
                raise UpstreamError(f"the vendor's answer is larger than {MOST_WHOLE_BYTES >> 20} MiB")
        yield [ServerSentEvent("message", bytes(whole))]

    def documents_in(self, pieces: list[ServerSentEvent]) -> list[Document]:
        """The documents that these pieces complete, up to `[DONE]`."""
        if pieces:
            self.has_pieces = True
        documents: list[Document] = []
        for piece in pieces:
            data = piece.data
            try:
                value = DECODER.decode(data)
            except UNREADABLE:
                value = None
            if type(value) is dict and not self.joiner.waiting:  # the usual case
                documents.append(Document(piece.event, value))
                continue
            if data.strip() == b"[DONE]":
                self.done = True
                break
            for one, clean in self.values(data):
                self.names.append(piece.event)
                documents += self.named(self.joiner.feed(one, clean=clean))
        return documents

    def named(self, values: list[dict[str, Any]]) -> list[Document]:
        """Complete values with the names of their events."""
        return [Document(self.names.pop(0), value) for value in values]

    def values(self, data: bytes) -> list[tuple[dict[str, Any], bool]]:
        """The JSON objects in a piece, each with whether all its text is valid Unicode."""
        parsed = decoded(data) if data else None
        if parsed is None and not data.strip():
            return []  # some vendors send empty events to keep the connection open
        if parsed is None:
            self.unreadable = self.lost = True
            self.note("skipped a piece of the answer that is not JSON")
            return []
        value, clean = parsed
        if isinstance(value, dict):
            return [(value, clean)]
        objects = [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
        if not objects and value is not None:
            self.unreadable = True
            self.note("skipped a piece of the answer that is not a JSON object")
        return [(one, clean) for one in objects]


def line_event(line: bytes) -> ServerSentEvent:
    """A JSON line as an event; some vendors begin each with `data:`."""
    return ServerSentEvent("message", line.removeprefix(b"data:"))


def decoded(data: bytes) -> tuple[Any, bool] | None:
    """A JSON value, and whether all its text is valid Unicode; None if `data` is not JSON.

    Accepts what strict parsers refuse and many vendors send: half a surrogate pair, NaN, numbers beyond 64 bits,
    invalid UTF-8 in a string.
    """
    try:
        return DECODER.decode(data), True
    except UNREADABLE:
        pass
    try:
        return json.loads(data.decode("utf-8", "replace")), False
    except (ValueError, RecursionError):
        return None


def object_in(data: bytes) -> dict[str, Any]:
    """Parse a whole body as a JSON object. Raises `UpstreamError`, never with the vendor's text."""
    joiner = Joiner()
    parsed = decoded(data.strip(LEADING))
    if parsed is None or not isinstance(parsed[0], dict):
        raise UpstreamError("the vendor's answer cannot be read")
    joiner.feed(parsed[0], clean=parsed[1])
    joiner.rest()
    value: dict[str, Any] = parsed[0]
    return value
