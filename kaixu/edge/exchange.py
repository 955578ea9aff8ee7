"""One HTTP exchange: find the route, check the credential, read the body, call the handler, send the reply.

It is served directly from ASGI: a framework's router, contexts and tasks would take a seventh of a small call's time.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

import msgspec

from kaixu.config.environment import Network
from kaixu.ops.change_origin import CHANGE_ORIGIN, ChangeOrigin
from kaixu.ops.logs import REQUEST_ID
from kaixu.ops.request_end import CLIENT_GONE, RequestEnd, RequestListener, shown_path, tell
from kaixu.plugin.deadline import CallTimer, within
from kaixu.plugin.errors import BodyTimeout, Invalid, KaixuError, Stopping, UnsupportedEncoding

from .callers import Callers
from .client_address import AddressHash, client_address
from .client_watch import WATCH_AFTER_S, ClientWatch
from .cors import PREFLIGHT, ReplyHeaders
from .encoding import ACCEPTED, decode_body, read_encodings
from .errors import Failures
from .framing import AmbiguousRequest, require_unambiguous
from .paths import normalize_path, require_no_nul
from .reply_writer import ReplyWriter
from .request import IncomingRequest, parse_scope
from .request_body import BODY_S, BodyBudget, BodyShare, body_address, read_body
from .response import Reply
from .routes import Route, Routes, WrongMethod
from .upload_body import UPLOAD_MEMORY_BYTES, UploadBody, upload_length

if TYPE_CHECKING:
    from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, HTTPScope, WebsocketScope


class BodyLimits(msgspec.Struct, frozen=True):
    """The size of one body, of all bodies in memory, and how long a client may stall while it reads a reply."""

    body_bytes: int
    body_memory_bytes: int
    stall_s: float


class Exchange:
    """Serves the routes of an application. `limits` is called for each request, since a reload may change them.

    `listeners` get a record of each request when it has ended, however it ended. `is_stopping`: whether the gateway
    shuts down, and cancels what still runs.
    """

    def __init__(
        self,
        routes: Routes,
        callers: Callers,
        headers: ReplyHeaders,
        failures: Failures,
        limits: Callable[[], BodyLimits],
        trusted: Sequence[Network] = (),
        *,
        listeners: Sequence[RequestListener] = (),
        is_stopping: Callable[[], bool] = lambda: False,
        hash_address: Callable[[str], str] | None = None,
    ) -> None:
        self.routes = routes
        self.callers = callers
        self.failures = failures
        self.limits = limits
        self.trusted = trusted
        self.listeners = tuple(listeners)
        self.is_stopping = is_stopping
        self.hash_address = hash_address or AddressHash(os.urandom(32)).hash
        self.writer = ReplyWriter(headers, lambda: limits().stall_s)
        self.budget = BodyBudget(lambda: limits().body_memory_bytes, lambda: limits().body_bytes)

    async def serve(self, scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> bool:
        """Serve one request, and pass its record to the listeners. The handler is cancelled if the client disconnects.

        If the shutdown cancels it before its reply has begun, answer 503. Returns whether a reply was begun: there is
        none to a body that breaks off.
        """
        request = self.read_request(scope)
        REQUEST_ID.set(request.request_id)
        CHANGE_ORIGIN.set(ChangeOrigin(request.address, self.hash_address))
        try:
            with CallTimer() as timer:
                await self.answer(request, scope, receive, send, timer)
        except asyncio.CancelledError:
            if request.progress.status is None:
                if self.is_stopping():
                    await self.refuse_while_stopping(request, send)
                else:
                    request.progress.is_client_gone = True
            raise
        finally:
            if self.listeners:
                tell(self.listeners, self.end_of(request))
        return request.progress.status is not None

    def end_of(self, request: IncomingRequest) -> RequestEnd:
        """The record of a request that has ended."""
        progress, headers, path = request.progress, request.headers, shown_path(request.path)
        is_unanswered = progress.status is None  # the client disconnected before its request was complete
        return RequestEnd(
            request_id=request.request_id,
            method=request.method,
            path=path,
            function=path.rsplit("/", 1)[-1],
            status=CLIENT_GONE if progress.status is None else progress.status,
            duration_ms=round((monotonic() - progress.began_at) * 1000),
            request_bytes=progress.bytes_received,
            response_bytes=progress.bytes_sent,
            is_client_gone=progress.is_client_gone or is_unanswered,
            facts=request.facts,
            user_agent=headers.get("user-agent"),
            origin=headers.get("origin"),
            referer=headers.get("referer"),
            ip_hash=self.hash_address(request.address),
        )

    async def answer(
        self,
        request: IncomingRequest,
        scope: HTTPScope,
        receive: ASGIReceiveCallable,
        send: ASGISendCallable,
        timer: CallTimer,
    ) -> None:
        """Find the route and call its handler, or refuse the request."""
        try:
            require_unambiguous(scope["headers"])
            require_no_nul(request.path, scope["query_string"])
        except Invalid as error:
            reply = self.failures.reply(error, request, self.routes.error_shape_at(request.path))
            if isinstance(error, AmbiguousRequest):
                reply.headers["connection"] = "close"
            await self.writer.send_early(reply, request, receive, send)
            return
        if request.method == "OPTIONS":
            origin = {"access-control-allow-origin": "*"} if self.routes.allows_any_origin(request.path) else {}
            await self.writer.send_without_route(Reply(204, PREFLIGHT | origin, b""), request, receive, send)
            return
        try:
            route, parameters = self.routes.find(request.method, request.path)
        except WrongMethod as error:
            reply = self.failures.reply(error, request, self.routes.error_shape_at(request.path))
            reply.headers["allow"] = ", ".join(error.allow)
            await self.writer.send_without_route(reply, request, receive, send)
            return
        if route.is_upload:
            await self.answer_upload(request, route, parameters, receive, send)
            return
        with BodyShare(self.budget) as share:
            body = await self.read_whole_body(request, route, share, receive, send)
            if body is None:
                return
            method = "GET" if request.method == "HEAD" else request.method
            request.progress.bytes_received = len(body)
            whole = msgspec.structs.replace(request, body=body, method=method, parameters=parameters)
            watch = ClientWatch(receive, timer.task)
            timer.remind(WATCH_AFTER_S, watch.start)
            try:
                try:
                    reply = await route.handler(whole)
                except Exception as error:  # noqa: BLE001 - every exception becomes an error reply
                    reply = self.failures.reply(error, request, route.error_shape)
                await self.writer.send(reply, request, send)
            except asyncio.CancelledError:
                if not watch.is_disconnected:
                    raise
                request.progress.is_client_gone = True
            finally:
                timer.forget_reminder()
                watch.stop()

    async def answer_upload(
        self,
        request: IncomingRequest,
        route: Route,
        parameters: Mapping[str, str],
        receive: ASGIReceiveCallable,
        send: ASGISendCallable,
    ) -> None:
        """Call the handler of an upload, which reads the body itself, or not at all."""
        with BodyShare(self.budget) as share:
            share.assign(body_address(request.address))
            upload: UploadBody | None = None
            watch = ClientWatch(receive, cast("asyncio.Task[object]", asyncio.current_task()))
            try:
                try:
                    self.callers.require(route.auth, request.headers)
                    upload = UploadBody(
                        receive, upload_length(request.headers), lambda: self.limits().stall_s, request.progress
                    )
                    if route.auth != "public":  # else it counts against the address
                        share.assign(await self.callers.find_body_owner(request))
                    share.take(min(UPLOAD_MEMORY_BYTES, 3 * upload.announced_bytes))
                    upload.when_read = watch.start
                    whole = msgspec.structs.replace(request, parameters=parameters, upload=upload)
                    reply = await route.handler(whole)
                except Exception as error:  # noqa: BLE001 - every exception becomes an error reply
                    reply = self.failures.reply(error, request, route.error_shape)
                    if isinstance(error, BodyTimeout):
                        reply.headers["connection"] = "close"  # the rest of the body is not read
                        await self.writer.send(reply, request, send)
                        return
                if upload is not None and upload.has_ended:
                    await self.writer.send(reply, request, send)
                else:
                    await self.send_early(reply, request, receive, send)
            except asyncio.CancelledError:
                if not (watch.is_disconnected or (upload is not None and upload.is_disconnected)):
                    raise
                request.progress.is_client_gone = True
            finally:
                watch.stop()

    async def send_early(
        self, reply: Reply, request: IncomingRequest, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Send a reply to an upload whose body was not read to its end."""
        if isinstance(reply.body, bytes):
            await self.writer.send_early(reply, request, receive, send)
        else:
            reply.headers["connection"] = "close"
            await self.writer.send(reply, request, send)

    def read_request(self, scope: HTTPScope) -> IncomingRequest:
        """The request without its body: with the client's address behind trusted proxies, and a normalized path."""
        client = scope.get("client")
        address = client[0] if client else "unknown"
        if self.trusted and client:
            address = client_address(address, scope["headers"], self.trusted)
        return parse_scope(scope, normalize_path(scope["path"]), address)

    async def read_whole_body(
        self,
        request: IncomingRequest,
        route: Route,
        share: BodyShare,
        receive: ASGIReceiveCallable,
        send: ASGISendCallable,
    ) -> bytes | None:
        """The decoded body. None if the request was refused and answered, or the client disconnected."""
        share.assign(body_address(request.address))
        most = self.limits().body_bytes
        if route.max_body_bytes is not None:
            most = min(most, route.max_body_bytes)
        # Public routes have no caller to look up, so the body counts against the address.
        identify = None if route.auth == "public" else lambda: self.callers.find_body_owner(request)
        try:
            self.callers.require(route.auth, request.headers)  # before the body is read
            encodings = read_encodings(request.headers)
            with within(BODY_S):
                body = await read_body(receive, request.headers, most, share, identify)
                if body and encodings:
                    if identify is not None and share.is_unknown:
                        share.assign(await identify())
                    body = await decode_body(body, encodings, most, share)
            if body is not None and route.rate == "reading":
                await self.callers.count_reading(request, len(body))
            return body
        except TimeoutError:
            reply = self.failures.reply(BodyTimeout(), request, route.error_shape)
            reply.headers["connection"] = "close"  # the rest of the body is not read
            await self.writer.send(reply, request, send)
        except KaixuError as error:
            share.release_all()
            reply = self.failures.reply(error, request, route.error_shape)
            if isinstance(error, UnsupportedEncoding):
                reply.headers["accept-encoding"] = ACCEPTED
            if share.ended:
                await self.writer.send(reply, request, send)
            else:
                await self.writer.send_early(reply, request, receive, send)
        return None

    async def refuse_while_stopping(self, request: IncomingRequest, send: ASGISendCallable) -> None:
        """Answer 503 to a request that the shutdown has cancelled."""
        error = Stopping("the gateway is shutting down", hint="Try again in a moment.", retry_after_s=2)
        reply = self.failures.reply(error, request, self.routes.error_shape_at(request.path))
        reply.headers["connection"] = "close"
        await self.writer.send(reply, request, send)

    async def refuse_websocket(
        self, scope: WebsocketScope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Refuse a WebSocket, with an HTTP reply if the server supports that."""
        await receive()
        sender = cast(Any, send)
        if "websocket.http.response" not in scope.get("extensions", {}):
            await sender({"type": "websocket.close", "code": 1000, "reason": "WebSocket is not supported"})
            return
        request = self.read_request(cast("HTTPScope", {"method": "GET", **scope}))
        error = Invalid("this gateway does not support WebSocket", hint="Send an HTTP request; streams are SSE.")
        reply = self.failures.reply(error, request, self.routes.error_shape_at(request.path))
        start = self.writer.start_message(reply, request)
        await sender({**start, "type": "websocket.http.response.start"})
        await sender({"type": "websocket.http.response.body", "body": reply.body, "more_body": False})
