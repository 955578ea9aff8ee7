"""Writes replies to ASGI: whole ones and streams, never waiting for a reader longer than it may take."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator

from hypercorn.typing import (
    ASGIReceiveCallable,
    ASGISendCallable,
    HTTPResponseBodyEvent,
    HTTPResponseStartEvent,
)

from .cors import ReplyHeaders
from .request import IncomingRequest
from .request_body import SMALL_BODY_BYTES, announced_length, discard_rest
from .response import Reply

log = logging.getLogger(__name__)

#: What a slow reader gets at one time: at a kilobyte a second it has taken that within a minute.
PIECE_BYTES = 64 * 1024


class ReplyWriter:
    """Sends replies with the headers that all of them have.

    `stall_s`: how long a reader may take nothing. One that does is given up: its call holds money, a vendor's stream
    and a place among those in flight.
    """

    def __init__(self, headers: ReplyHeaders, stall_s: Callable[[], float]) -> None:
        self.headers = headers
        self.stall_s = stall_s

    def start_of(self, reply: Reply, request: IncomingRequest) -> HTTPResponseStartEvent:
        """A reply's status and headers."""
        self.headers.add_to(reply.headers, request.method, request.headers, request.request_id)
        if isinstance(reply.body, bytes):
            reply.headers["content-length"] = str(len(reply.body))
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers.items()]
        return {"type": "http.response.start", "status": reply.status, "headers": headers, "trailers": False}

    async def send(self, reply: Reply, request: IncomingRequest, send: ASGISendCallable) -> None:
        """Send a reply; its stream is closed however that ends. The reply to HEAD has no body."""
        body = reply.body
        try:
            start = self.start_of(reply, request)
            if isinstance(body, bytes):
                # A short body is one message.
                *before, last = pieces(b"" if request.method == "HEAD" else body)
                await self.write(send, request, start, *before, {**last, "more_body": False})
                return
            if not await self.write(send, request, start):
                return
            if request.method == "HEAD":
                await self.write(send, request, piece(b"", more=False))
                return
            async for data in body:
                if not await self.write(send, request, *pieces(data)):
                    return
        finally:
            if not isinstance(body, bytes):
                await body.aclose()
        await self.write(send, request, piece(b"", more=False))

    async def send_early(
        self, reply: Reply, request: IncomingRequest, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Send a reply at once to a request whose body was not read to its end."""
        assert isinstance(reply.body, bytes)
        length = announced_length(request.headers)
        if length is None or length > SMALL_BODY_BYTES:
            reply.headers["connection"] = "close"  # what is left of the body is not worth reading
        # By its length the client knows that the reply is whole; the exchange itself ends after the body.
        body = b"" if request.method == "HEAD" else reply.body
        if not await self.write(send, request, self.start_of(reply, request), piece(body, more=True)):
            return
        if length != 0:
            await discard_rest(receive)
        await self.write(send, request, piece(b"", more=False))

    async def write(
        self,
        send: ASGISendCallable,
        request: IncomingRequest,
        *messages: HTTPResponseStartEvent | HTTPResponseBodyEvent,
    ) -> bool:
        """Whether the reader took each of `messages` in time; one that did not is as good as gone."""
        stall_s = self.stall_s()
        for message in messages:
            try:
                async with asyncio.timeout(stall_s):
                    await send(message)
            except TimeoutError:
                log.warning("request %s: the client read nothing for %g s", request.request_id, stall_s)
                return False
        return True


def pieces(data: bytes) -> Iterator[HTTPResponseBodyEvent]:
    """Parts of a reply's body that even a slow reader takes in time."""
    if len(data) <= PIECE_BYTES:
        yield piece(data, more=True)
        return
    for at in range(0, len(data), PIECE_BYTES):
        yield piece(data[at : at + PIECE_BYTES], more=True)


def piece(data: bytes, *, more: bool) -> HTTPResponseBodyEvent:
    """A part of a reply's body."""
    return {"type": "http.response.body", "body": data, "more_body": more}
