"""Send replies and streams over ASGI; drop clients that stop reading."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from kaixu.plugin.deadline import within
from kaixu.plugin.errors import KaixuError

from .cors import ReplyHeaders
from .request import IncomingRequest
from .request_body import SMALL_BODY_BYTES, announced_length, discard_rest
from .response import Reply
from .sse import EventStream

if TYPE_CHECKING:
    from hypercorn.typing import (
        ASGIReceiveCallable,
        ASGISendCallable,
        HTTPResponseBodyEvent,
        HTTPResponseStartEvent,
    )

log = logging.getLogger(__name__)

#: The size of one message: at a kilobyte per second a slow client reads it within about a minute.
PIECE_BYTES = 64 * 1024


class ReplyWriter:
    """Sends replies with the common headers.

    `stall_s`: how long a client may read nothing. After that the reply is abandoned, because its call reserves money,
    a vendor's stream and a slot among the calls in flight.
    """

    def __init__(self, headers: ReplyHeaders, stall_s: Callable[[], float]) -> None:
        self.headers = headers
        self.stall_s = stall_s

    def start_message(self, reply: Reply, request: IncomingRequest) -> HTTPResponseStartEvent:
        """The ASGI message with a reply's status and headers."""
        self.headers.add_to(reply.headers, request.method, request.headers, request.request_id)
        if isinstance(reply.body, bytes):
            reply.headers["content-length"] = str(len(reply.body))
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers.items()]
        return {"type": "http.response.start", "status": reply.status, "headers": headers, "trailers": False}

    async def send(self, reply: Reply, request: IncomingRequest, send: ASGISendCallable) -> None:
        """Send a reply and always close its stream. A reply to HEAD has no body."""
        body = reply.body
        if isinstance(body, bytes):
            await self.send_whole(reply, body, request, send)
            return
        try:
            start = self.start_message(reply, request)
            if not await self.write(send, request, start):
                return
            if request.method == "HEAD":
                await self.write(send, request, piece(b"", more=False))
                return
            if not await self.write_stream(send, request, body):
                return
        except KaixuError as error:
            # Without its last message the server closes the connection: the client sees that the reply is not whole.
            log.warning("request %s: the reply broke off: %s", request.request_id, error.message)
            return
        finally:
            await body.aclose()
        await self.write(send, request, piece(b"", more=False))

    async def send_whole(self, reply: Reply, body: bytes, request: IncomingRequest, send: ASGISendCallable) -> None:
        """Send a reply whose body is known: status and body are written together."""
        start = self.start_message(reply, request)
        if request.method == "HEAD":
            body = b""
        if len(body) <= PIECE_BYTES:
            await self.write(send, request, start, piece(body, more=False))
        else:
            *before, last = pieces(body)
            await self.write(send, request, start, *before, {**last, "more_body": False})

    async def send_without_route(
        self, reply: Reply, request: IncomingRequest, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Send a reply to a request that no handler takes; a short body is read first, so the connection stays open.

        A server may close a connection whose reply ends before the request's body.
        """
        length = announced_length(request.headers)
        if length is None or length > SMALL_BODY_BYTES:
            await self.send_early(reply, request, receive, send)
            return
        if length != 0:
            await discard_rest(receive)
        await self.send(reply, request, send)

    async def send_early(
        self, reply: Reply, request: IncomingRequest, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Send a reply before the request's body was read completely."""
        assert isinstance(reply.body, bytes)
        length = announced_length(request.headers)
        if length is None or length > SMALL_BODY_BYTES:
            reply.headers["connection"] = "close"  # the rest of the body is too long to read
        # The content-length tells the client that the reply is complete; the exchange ends after the request's body.
        body = b"" if request.method == "HEAD" else reply.body
        if not await self.write(send, request, self.start_message(reply, request), piece(body, more=True)):
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
        """Send messages; False if the client did not read one of them in time."""
        stall_s, progress = self.stall_s(), request.progress
        try:
            with within(stall_s) as deadline:
                last = messages[-1]
                for message in messages:
                    if message["type"] == "http.response.start":
                        progress.status = message["status"]
                        await send(message)
                    else:
                        await send(message)
                        progress.bytes_sent += len(message["body"])
                    if message is not last:
                        deadline.restart(stall_s)
        except TimeoutError:
            note_stall(request, stall_s)
            return False
        return True

    async def write_stream(self, send: ASGISendCallable, request: IncomingRequest, body: EventStream) -> bool:
        """Send a stream's frames; False if the client did not read one of them in time."""
        stall_s, progress = self.stall_s(), request.progress
        limit = within(stall_s)
        async for data in body:
            try:
                with limit:
                    if len(data) <= PIECE_BYTES:
                        await send({"type": "http.response.body", "body": data, "more_body": True})
                        progress.bytes_sent += len(data)
                        continue
                    for message in pieces(data):
                        limit.restart(stall_s)
                        await send(message)
                        progress.bytes_sent += len(message["body"])
            except TimeoutError:
                note_stall(request, stall_s)
                return False
        return True


def note_stall(request: IncomingRequest, stall_s: float) -> None:
    """Note that the client has stopped reading."""
    request.progress.is_client_gone = True
    log.warning("request %s: the client has read nothing for %g s", request.request_id, stall_s)


def pieces(data: bytes) -> Iterator[HTTPResponseBodyEvent]:
    """Split a reply's body into messages that even a slow client can read in time."""
    if len(data) <= PIECE_BYTES:
        yield piece(data, more=True)
        return
    for at in range(0, len(data), PIECE_BYTES):
        yield piece(data[at : at + PIECE_BYTES], more=True)


def piece(data: bytes, *, more: bool) -> HTTPResponseBodyEvent:
    """The ASGI message with a part of a reply's body."""
    return {"type": "http.response.body", "body": data, "more_body": more}
