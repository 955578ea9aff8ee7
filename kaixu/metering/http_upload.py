"""The streamed body of a request: written as fast as the vendor takes it."""

from __future__ import annotations

from collections.abc import AsyncIterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .http_connection import Connection


class WrongLength(Exception):
    """The body has not the length that the request's head declares."""


async def send_body(connection: Connection, stream: AsyncIterable[bytes], length: int | None) -> None:
    """Write all of `stream`; chunked where `length` is None. Raises `WrongLength`, and what the stream raises."""
    sent = 0
    async for piece in stream:
        if not piece:
            continue
        sent += len(piece)
        if length is None:
            connection.transport.writelines((b"%x\r\n" % len(piece), piece, b"\r\n"))
        elif sent > length:
            raise WrongLength
        else:
            connection.transport.write(piece)
        if connection.is_write_paused:
            await connection.may_write()
    if length is None:
        connection.transport.write(b"0\r\n\r\n")
    elif sent != length:
        raise WrongLength
