"""A stand-in for PgBouncer in front of a Postgres: what tells a client that something is between it and the server."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from urllib.parse import parse_qs, urlsplit

#: PgBouncer's answer to a setting of the session that it is not told to ignore (its documentation,
#: `ignore_startup_parameters`).
REFUSED = "unsupported startup parameter: {name}"


class Pooler:
    """Passes connections on. `refuses`: a setting of the session that it refuses, as PgBouncer does by default."""

    def __init__(self, dsn: str, *, refuses: str | None = None) -> None:
        parts = urlsplit(dsn)
        self.socket = f"{parse_qs(parts.query)['host'][0]}/.s.PGSQL.5432"
        self.database = parts.path
        self.refuses = refuses
        self.server: asyncio.Server | None = None

    async def start(self) -> str:
        """Listen on a free port; the DSN through it."""
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        port = self.server.sockets[0].getsockname()[1]
        return f"postgresql://postgres@127.0.0.1:{port}{self.database}?sslmode=disable"

    async def stop(self) -> None:
        """Stop listening."""
        assert self.server is not None
        self.server.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client."""
        [length] = struct.unpack("!I", await reader.readexactly(4))
        startup = await reader.readexactly(length - 4)
        if self.refuses is not None and self.refuses.encode() in startup:
            fields = f"SFATAL\0VFATAL\0C08P01\0M{REFUSED.format(name=self.refuses)}\0\0".encode()
            writer.write(b"E" + struct.pack("!I", len(fields) + 4) + fields)
            await writer.drain()
            writer.close()
            return
        server_reader, server_writer = await asyncio.open_unix_connection(self.socket)
        server_writer.write(struct.pack("!I", length) + startup)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await asyncio.gather(pass_on(reader, server_writer), answers(server_reader, writer))
        for one in (writer, server_writer):
            one.close()


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass bytes on as they are."""
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass messages of the server on, but with a process number of our own: PgBouncer's clients never get the server's."""
    while True:
        kind = await reader.readexactly(1)
        [length] = struct.unpack("!I", await reader.readexactly(4))
        body = await reader.readexactly(length - 4)
        if kind == b"K":
            body = struct.pack("!I", 0x7ABCDEF) + body[4:]
        writer.write(kind + struct.pack("!I", length) + body)
        await writer.drain()
