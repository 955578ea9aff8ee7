"""Messages between the supervisor and a worker: one JSON object a line, over a socket pair."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import msgspec

#: The longest message: the figures of one worker's metrics are some hundred kilobytes.
MOST_BYTES = 64 * 1024 * 1024

Message = dict[str, Any]


class Channel:
    """One end of it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def over(cls, end: socket.socket) -> Channel:
        """A channel over one end of a socket pair."""
        reader, writer = await asyncio.open_unix_connection(sock=end, limit=MOST_BYTES)
        return cls(reader, writer)

    def send(self, message: Message) -> None:
        """Send a message; one to a process that has ended, or that has not read for long, is dropped."""
        transport = self.writer.transport
        if not transport.is_closing() and transport.get_write_buffer_size() < MOST_BYTES:
            self.writer.write(msgspec.json.encode(message) + b"\n")

    async def receive(self) -> Message | None:
        """The next message; None when the other process has ended."""
        try:
            line = await self.reader.readline()
        except (OSError, ValueError):
            return None
        if not line.endswith(b"\n"):
            return None
        message: Message = msgspec.json.decode(line)
        return message

    def close(self) -> None:
        """Close this end."""
        self.writer.close()
