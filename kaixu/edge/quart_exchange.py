"""One HTTP exchange, cheaper than Quart's: the body is read first, then the handler runs in the same task."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from hypercorn.typing import (
    ASGIReceiveCallable,
    ASGISendCallable,
    HTTPResponseStartEvent,
)
from quart import Request, Response
from quart.asgi import ASGIHTTPConnection
from quart.typing import ResponseTypes
from quart.utils import encode_headers
from quart.wrappers.response import DataBody

from .request import incoming_in

if TYPE_CHECKING:
    from kaixu.gateway.app import Application

#: A handler that takes longer than this is watched for a client that goes away; shorter ones are not worth a task.
WATCH_AFTER_S = 0.25


class Connection(ASGIHTTPConnection):
    """Quart's exchange without its two tasks and their wait: about a tenth of a small call's time.

    A client that goes away cancels the handler, as in Quart.
    """

    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        app = cast("Application", self.app)
        with app.doors.budget.share() as share:
            body = await app.received(self.scope, receive, send, share)
            if body is None:
                return
            request = self._create_request_from_scope(send)
            request.body.set_result(body)
            await self._handled(request, receive, send)

    async def _handled(self, request: Request, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        loop = asyncio.get_running_loop()
        watch = Watch(receive, cast("asyncio.Task[object]", asyncio.current_task()))
        timer = loop.call_later(WATCH_AFTER_S, watch.begin)
        try:
            await self.handle_request(request, send)
        except asyncio.CancelledError:
            if not watch.gone:
                raise
        finally:
            timer.cancel()
            watch.end()

    async def _send_response(self, send: ASGISendCallable, response: ResponseTypes) -> None:
        """A short reply that is whole leaves as one body message, not as a body and an end."""
        if not (isinstance(response, Response) and isinstance(response.response, DataBody)):
            await super()._send_response(send, response)
            return
        start: HTTPResponseStartEvent = {
            "type": "http.response.start",
            "status": response.status_code,
            "headers": encode_headers(response.headers),
            "trailers": False,
        }
        doors = cast("Application", self.app).doors
        await doors.whole(send, incoming_in(self.scope), start, response.response.data)


class Watch:
    """Waits for the client to go away and then cancels the handler."""

    __slots__ = ("gone", "handler", "receive", "task")

    def __init__(self, receive: ASGIReceiveCallable, handler: asyncio.Task[object]) -> None:
        self.receive = receive
        self.handler = handler
        self.task: asyncio.Task[None] | None = None
        self.gone = False

    def begin(self) -> None:
        """Start waiting."""
        self.task = asyncio.get_running_loop().create_task(self._wait())

    def end(self) -> None:
        """Stop waiting."""
        if self.task is not None:
            self.task.cancel()

    async def _wait(self) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        self.handler.cancel()
