"""The doors of the model calls: served straight from ASGI, without the router and contexts of Quart.

Those cost a small call about a seventh of its time. A door takes an `Incoming` and
gives a `Reply`; everything else of the application is ordinary Quart.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

import msgspec
from hypercorn.typing import (
    ASGIReceiveCallable,
    ASGISendCallable,
    HTTPResponseBodyEvent,
    HTTPResponseStartEvent,
    HTTPScope,
)

from kaixu.plugin.errors import BodyTimeout, MethodNotAllowed, TooLarge

from .connection import BODY_S, WATCH_AFTER_S, Watch
from .edge import PREFLIGHT, Edge
from .errors import Failures, Shape, envelope_as_it_is
from .incoming import Incoming, headers_of, request_id_of
from .reply import Reply

log = logging.getLogger(__name__)
Handler = Callable[[Incoming], Awaitable[Reply]]

#: A reader that takes nothing for this long is given up: its call holds money, a vendor's stream and a place here.
LONGEST_STALL_S = 300.0


class Door(msgspec.Struct, frozen=True):
    """A handler, the paths it is reached at, the one method that it takes, and how its errors look."""

    handler: Handler
    paths: tuple[str, ...]
    method: str = "POST"
    shape: Shape = envelope_as_it_is


class Doors:
    """All doors of an application, by path. `body_limit`: how many bytes a body may have, asked for each call."""

    def __init__(self, edge: Edge, failures: Failures, body_limit: Callable[[], int]) -> None:
        self.edge = edge
        self.failures = failures
        self.body_limit = body_limit
        self.by_path: dict[str, Door] = {}

    def add(self, door: Door) -> None:
        """Open a door at its paths."""
        for path in door.paths:
            assert path not in self.by_path, path
            self.by_path[path] = door

    def find(self, path: str) -> Door | None:
        """The door at a path; a slash at its end does not matter."""
        return self.by_path.get(path) or (self.by_path.get(path.rstrip("/")) if path.endswith("/") else None)

    async def serve(self, door: Door, scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """One exchange: the body, the handler, the reply. A client that goes away cancels the handler."""
        headers = headers_of(scope["headers"])
        client = scope.get("client")
        asked = Incoming(
            scope["method"],
            scope["path"],
            headers,
            b"",
            request_id_of(headers),
            client[0] if client else "unknown",
        )
        if asked.method != door.method:
            await self.send(self.without_handler(door, asked), asked, send)
            return
        try:
            async with asyncio.timeout(BODY_S):
                body = await whole_body(receive, headers, self.body_limit())
        except (TimeoutError, TooLarge) as error:
            failure = error if isinstance(error, TooLarge) else BodyTimeout()
            reply = self.failed(failure, door, asked)
            reply.headers["connection"] = "close"  # what is left of the body is not worth reading
            await self.send(reply, asked, send)
            return
        if body is None:
            return
        asked = msgspec.structs.replace(asked, body=body)
        watch = Watch(receive, cast("asyncio.Task[object]", asyncio.current_task()))
        timer = asyncio.get_running_loop().call_later(WATCH_AFTER_S, watch.begin)
        try:
            try:
                reply = await door.handler(asked)
            except Exception as error:  # noqa: BLE001 - the edge: whatever it is, it becomes a reply
                reply = self.failed(error, door, asked)
            await self.send(reply, asked, send)
        except asyncio.CancelledError:
            if not watch.gone:
                raise
        finally:
            timer.cancel()
            watch.end()

    def failed(self, raised: Exception, door: Door, asked: Incoming) -> Reply:
        """The reply to what was raised, in the door's own shape."""
        return self.failures.reply(raised, asked, door.shape)

    def without_handler(self, door: Door, asked: Incoming) -> Reply:
        """A preflight, or a method that is not for this door."""
        if asked.method == "OPTIONS":
            return Reply(204, dict(PREFLIGHT), b"")
        reply = self.failed(MethodNotAllowed(f"{asked.method} is not for this path"), door, asked)
        reply.headers["allow"] = door.method
        return reply

    async def send(self, reply: Reply, asked: Incoming, send: ASGISendCallable) -> None:
        """Send a reply; a stream is closed however it ends."""
        body = reply.body
        try:
            self.edge.finish(asked.method, asked.headers, asked.request_id, reply.headers)
            if isinstance(body, bytes):
                reply.headers["content-length"] = str(len(body))
            headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers.items()]
            start: HTTPResponseStartEvent = {
                "type": "http.response.start",
                "status": reply.status,
                "headers": headers,
                "trailers": False,
            }
            await send(start)
            if isinstance(body, bytes):
                await send(piece(body, more=False))
                return
            async for data in body:
                try:
                    async with asyncio.timeout(LONGEST_STALL_S):
                        await send(piece(data, more=True))
                except TimeoutError:
                    log.warning("stream %s: its reader took nothing for %g s", asked.request_id, LONGEST_STALL_S)
                    return
        finally:
            if not isinstance(body, bytes):
                await body.aclose()
        await send(piece(b"", more=False))


def piece(data: bytes, *, more: bool) -> HTTPResponseBodyEvent:
    """A part of a reply's body."""
    return {"type": "http.response.body", "body": data, "more_body": more}


async def whole_body(receive: ASGIReceiveCallable, headers: Mapping[str, str], most: int) -> bytes | None:
    """The whole body; None where the client left in the middle of it. Raises `TooLarge`."""
    length = headers.get("content-length", "")
    if length.isdigit() and int(length) > most:
        raise TooLarge(f"the body is {length} bytes long; {most} are taken")
    parts: list[bytes] = []
    size = 0
    while True:
        message = cast(dict[str, Any], await receive())
        if message["type"] == "http.disconnect":
            return None
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > most:
            raise TooLarge(f"the body is longer than {most} bytes")
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)
