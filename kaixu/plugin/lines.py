"""Reads JSON lines. Lines end at line feeds only: texts may contain every other line separator."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx

from kaixu.plugin.errors import UpstreamError

#: Size limit of one line, against vendors that never end it.
MOST_LINE_BYTES = 16 * 1024 * 1024


async def json_lines(response: httpx.Response) -> AsyncIterator[bytes]:
    """The lines of `response` that are not blank, without LF or CRLF. The last line needs no end.

    Unlike `httpx.Response.aiter_lines` it does not split at U+2028, U+2029 or U+0085, which JSON allows in strings.
    Lines are bytes, so a character that the network cut in two is complete again.

    Raises `UpstreamError` when one line is longer than 16 MiB.
    """
    reader = LineReader()
    async for chunk in response.aiter_bytes():
        for line in reader.feed(chunk):
            yield line
    for line in reader.feed(b"\n"):
        yield line


class LineReader:
    """Splits chunks into lines; keeps the unfinished last line."""

    __slots__ = ("line", "most")

    def __init__(self, most: int = MOST_LINE_BYTES) -> None:
        self.line = bytearray()  # grows in place: cheap for many small chunks
        self.most = most

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that `chunk` completes. Raises `UpstreamError` for one that is too long."""
        if b"\n" not in chunk:
            self.keep(chunk)
            return []
        first, *middle, last = chunk.split(b"\n")
        self.keep(first)
        lines = [bytes(self.line), *middle]
        self.line.clear()
        self.keep(last)
        return [line for line in (one.strip(b" \t\r") for one in lines) if line]

    def keep(self, piece: bytes) -> None:
        """Append to the unfinished line."""
        self.line += piece
        if len(self.line) > self.most:
            raise UpstreamError(f"the vendor sent a line of more than {self.most >> 20} MiB")
