"""A vendor's response as a lane may read it: not compressed, bounded in size and time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx

from kaixu.plugin.deadline import within
from kaixu.plugin.errors import UpstreamError, UpstreamTimeout
from kaixu.plugin.tries import answer_too_large

#: The most of a response that is read as a whole. The longest normal one is a full batch of embeddings:
#: 2,048 vectors of 3,072 numbers, each of some 22 characters, are 140 MB.
MOST_WHOLE_BYTES = 160 * 1024 * 1024


class VendorHeaders(httpx.Headers):
    """Headers as a connection has read them: as sent, in lower case, value. `is_ascii`: all values are."""

    def __init__(self, headers: list[tuple[bytes, bytes, bytes]], *, is_ascii: bool) -> None:
        self._list = headers
        self._encoding = "ascii" if is_ascii else None  # None: httpx finds it out

    def get(self, key: str, default: Any = None) -> Any:
        """As `httpx.Headers.get`, with a tenth of its function calls."""
        name, found = key.lower().encode(), None
        for _, lower, value in self._list:
            if lower == name:
                text = value.decode(self._encoding or self.encoding)
                found = text if found is None else f"{found}, {text}"
        return default if found is None else found


class VendorResponse(httpx.Response):
    """An `httpx.Response` whose `aread` is bounded. A stream may be longer: its reader bounds each event."""

    most_bytes = MOST_WHOLE_BYTES

    def aiter_bytes(self, chunk_size: int | None = None) -> AsyncIterator[bytes]:
        """The body as it comes. It is never compressed, so nothing needs to be decoded on the way."""
        if chunk_size is not None or hasattr(self, "_content"):
            return super().aiter_bytes(chunk_size)
        assert isinstance(self.stream, httpx.AsyncByteStream)
        return aiter(self.stream)

    async def aread(self) -> bytes:
        """The whole body. Raises `UpstreamError` when it is larger than `most_bytes`."""
        if not hasattr(self, "_content"):
            if self.is_stream_consumed:
                raise httpx.StreamConsumed
            if self.is_closed:
                raise httpx.StreamClosed
            self.is_stream_consumed = True
            length = self.headers.get("content-length", "")
            pieces: list[bytes] = []
            size = int(length) if length.isdecimal() and len(length) < 19 else 0
            if size <= self.most_bytes:
                size = 0
                assert isinstance(self.stream, httpx.AsyncByteStream)
                async for piece in self.stream:
                    size += len(piece)
                    if size > self.most_bytes:
                        break
                    pieces.append(piece)
            if size > self.most_bytes:
                raise answer_too_large(self.most_bytes)
            await self.aclose()
            self._content = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return self._content

    async def aclose(self) -> None:
        """Close the response; what was read of it remains."""
        if not self.is_closed:
            self.is_closed = True
            assert isinstance(self.stream, httpx.AsyncByteStream)
            await self.stream.aclose()


def bounded_response(response: httpx.Response, request: httpx.Request) -> VendorResponse:
    """The `response` to `request`, bounded. The caller closes it.

    Raises `UpstreamError` for a compressed one: a few bytes of that can be gigabytes, and the wire asks every vendor
    for an uncompressed one.
    """
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding not in ("", "identity"):
        raise UpstreamError(
            "the vendor compressed its answer, which the gateway did not accept",
            hint="Tell your operator.",
        )
    if isinstance(response, VendorResponse):
        return response
    assert isinstance(response.stream, httpx.AsyncByteStream)
    return VendorResponse(
        response.status_code,
        headers=response.headers,
        stream=response.stream,
        request=request,
        extensions=response.extensions,
    )


class PacedStream(httpx.AsyncByteStream):
    """A body whose first piece may take longer than the later ones.

    `first_by` is the event loop's time; the first piece never gets less than `between_s` seconds.
    """

    def __init__(self, stream: httpx.AsyncByteStream, first_by: float, between_s: float) -> None:
        self.stream = stream
        self.first_by = first_by
        self.between_s = between_s

    async def __aiter__(self) -> AsyncIterator[bytes]:
        limit_s = max(self.first_by - asyncio.get_running_loop().time(), self.between_s)
        pieces = aiter(self.stream)
        while True:
            try:
                with within(limit_s):
                    piece = await anext(pieces, None)
            except TimeoutError as error:
                raise UpstreamTimeout(f"nothing came from the vendor for {limit_s:.3g} s") from error
            if piece is None:
                return
            yield piece
            limit_s = self.between_s

    async def aclose(self) -> None:
        await self.stream.aclose()
