"""A vendor on a raw socket, which misbehaves on purpose: it sends the bytes it is told to."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Talk = Callable[["Line"], Awaitable[None]]


class Line:
    """One connection as the vendor sees it. `number`: counted from 1."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self.reader = reader
        self.writer = writer

    async def head(self) -> bytes:
        """The next request's head, or b"" at the end."""
        try:
            return await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            return error.partial

    async def request(self) -> bytes:
        """The next request, whose length is declared; b"" at the end."""
        head = await self.head()
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                return head + await self.reader.readexactly(int(line.split(b":")[1]))
        return head

    async def say(self, data: bytes) -> None:
        """Send."""
        self.writer.write(data)
        await self.writer.drain()

    async def gone(self) -> None:
        """Wait until the client has closed the connection."""
        while await self.reader.read(65536):
            pass


class RawVendor:
    """Where it listens, and the connections it has got."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.lines: list[Line] = []


@asynccontextmanager
async def raw_vendor(talk: Talk, context: ssl.SSLContext | None = None) -> AsyncIterator[RawVendor]:
    """A server that runs `talk` on each connection and then closes it."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = Line(len(vendor.lines) + 1, reader, writer)
        vendor.lines.append(line)
        try:
            await talk(line)
        except (OSError, asyncio.CancelledError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    vendor = RawVendor("")
    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context, limit=1 << 20)
    scheme = "http" if context is None else "https"
    vendor.url = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    try:
        yield vendor
    finally:
        server.close()
        for line in vendor.lines:
            line.writer.close()


def reply(body: bytes = b"fine", *headers: bytes, status: bytes = b"200 OK") -> bytes:
    """A reply with a declared length."""
    lines = [b"HTTP/1.1 " + status, b"content-length: %d" % len(body), *headers, b"", body]
    return b"\r\n".join(lines)
