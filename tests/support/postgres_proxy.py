"""Stands between a client and Postgres, and tells the client that its connection ends, as Postgres does."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qs, urlsplit, urlunsplit

FIELDS = b"SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0"
ENDED = b"E" + (len(FIELDS) + 4).to_bytes(4, "big") + FIELDS


class PostgresProxy:
    """Passes everything on, until `announce_end`: then each client has read that its connection ends, but not its end."""

    def __init__(self, dsn: str) -> None:
        self.upstream = urlsplit(dsn)
        self.clients: list[asyncio.StreamWriter] = []
        self.server: asyncio.Server | None = None
        self.tasks: set[asyncio.Task[None]] = set()
        self.dsn = ""

    async def __aenter__(self) -> PostgresProxy:
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        port = self.server.sockets[0].getsockname()[1]
        user, _, _ = self.upstream.netloc.rpartition("@")
        netloc = f"{user}@127.0.0.1:{port}" if user else f"127.0.0.1:{port}"
        self.dsn = urlunsplit(self.upstream._replace(netloc=netloc, query="sslmode=disable"))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self.server is not None
        self.server.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        folder = parse_qs(self.upstream.query).get("host", [""])[0]
        if folder:
            server = await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.{self.upstream.port or 5432}")
        else:
            server = await asyncio.open_connection(self.upstream.hostname, self.upstream.port or 5432)
        self.clients.append(writer)
        for source, target in ((reader, server[1]), (server[0], writer)):
            task = asyncio.ensure_future(self.copy(source, target))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def copy(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        """One direction."""
        try:
            while data := await source.read(65536):
                target.write(data)
                await target.drain()
        except OSError:
            pass
        finally:
            target.close()

    async def announce_end(self) -> None:
        """Tell each client that its connection ends, and leave it open."""
        for client in self.clients:
            client.write(ENDED)
            await client.drain()
        await asyncio.sleep(0.05)  # until the clients have read it
