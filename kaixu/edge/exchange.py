"""The doors of the model calls: served straight from ASGI, without the router and contexts of Quart.

Those cost a small call about a seventh of its time. A door takes an `Incoming` and
gives a `Reply`; everything else of the application is ordinary Quart.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Literal, cast

import msgspec
from hypercorn.typing import (
    ASGIReceiveCallable,
    ASGISendCallable,
    HTTPResponseBodyEvent,
    HTTPResponseStartEvent,
    HTTPScope,
)

from kaixu.plugin.errors import BodyTimeout, KaixuError, MethodNotAllowed, UnsupportedEncoding

from .cors import PREFLIGHT, Edge
from .encoding import ACCEPTED, encodings_in, unpacked
from .errors import Failures, Shape, envelope_as_it_is
from .quart_exchange import WATCH_AFTER_S, Watch
from .request import Headers, IncomingRequest, incoming_in
from .request_body import (
    ANYBODY,
    BODY_S,
    SMALL_BODY_BYTES,
    BodyBudget,
    Holder,
    Identify,
    Share,
    address_of,
    announced,
    thrown_away,
    whole_body,
)
from .response import Reply

log = logging.getLogger(__name__)
Handler = Callable[[IncomingRequest], Awaitable[Reply]]

#: What a slow reader is given at one time: at a kilobyte a second it has taken that within a minute.
PIECE_BYTES = 64 * 1024

#: Looks at a request's credential, before its body is read. Raises `Unauthenticated`.
Credential = Callable[[Headers], None]

#: How often somebody may come: "call", the handler asks admission, which counts a key's requests a minute and a day;
#: "reading", the key's readings a minute are taken before the handler; "address", the handler counts by the client's
#: address; "operator", for whoever has logged in as one; "open", for everybody, as it costs nothing.
Rate = Literal["call", "reading", "address", "operator", "open"]


class Door(msgspec.Struct, frozen=True):
    """A handler, the paths it is reached at, the methods that it takes, and how its errors look.

    `public`: no credential is asked for. `credential`: which one is, where it is not a key's or a session's.
    `most_bytes`: its bodies are shorter than others. `rate`: every door says its own (tests/edge/test_rates.py);
    one that does not is given that of readings.
    """

    handler: Handler
    paths: tuple[str, ...]
    methods: tuple[str, ...] = ("POST",)
    shape: Shape = envelope_as_it_is
    public: bool = False
    credential: Credential | None = None
    most_bytes: int | None = None
    rate: Rate | None = None


class BodyLimits(msgspec.Struct, frozen=True):
    """What the doors go by: a body's length, all bodies' together, and how long a reader may take nothing."""

    body_bytes: int
    body_memory_bytes: int
    stall_s: float


class Doors:
    """All doors of an application, by path. `limits` is asked for each call; `credential` for all that are not public.

    A reader that takes nothing for `stall_s` is given up: its call holds money, a vendor's stream and a place here.
    """

    def __init__(
        self, edge: Edge, failures: Failures, limits: Callable[[], BodyLimits], credential: Credential
    ) -> None:
        self.edge = edge
        self.failures = failures
        self.limits = limits
        self.credential = credential
        self.budget = BodyBudget(lambda: limits().body_memory_bytes, lambda: limits().body_bytes)
        #: Looks up whose a request is; without it everybody is somebody.
        self.identify: Callable[[IncomingRequest], Awaitable[Holder]] | None = None
        #: Counts one reading of a request's key, for the length of its body. Raises what refuses it.
        self.reading: Callable[[IncomingRequest, int], Awaitable[None]] | None = None
        self.by_path: dict[str, Door] = {}
        #: Asked where no door is at a path: what a reload may change is not written down here.
        self.otherwise: Callable[[str], Door | None] = lambda path: None

    def add(self, door: Door) -> None:
        """Open a door at its paths."""
        for path in door.paths:
            assert path not in self.by_path, path
            self.by_path[path] = door

    def find(self, path: str) -> Door | None:
        """The door at a path; a slash at its end does not matter."""
        door = self.by_path.get(path) or (self.by_path.get(path.rstrip("/")) if path.endswith("/") else None)
        return door or self.otherwise(path)

    async def serve(self, door: Door, scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """One exchange: the body, the handler, the reply. A client that goes away cancels the handler."""
        asked = incoming_in(scope)
        method = "GET" if asked.method == "HEAD" and "HEAD" not in door.methods else asked.method
        if method not in door.methods:
            await self.send(self.without_handler(door, asked), asked, send)
            return
        with self.budget.share() as share:
            most = self.limits().body_bytes
            body = await self.received(
                asked,
                receive,
                send,
                share,
                credential=None if door.public else door.credential or self.credential,
                most=most if door.most_bytes is None else min(most, door.most_bytes),
                shape=door.shape,
                rate=door.rate or ("open" if door.public else "reading"),
            )
            if body is None:
                return
            handed = msgspec.structs.replace(asked, body=body, method=method)
            watch = Watch(receive, cast("asyncio.Task[object]", asyncio.current_task()))
            timer = asyncio.get_running_loop().call_later(WATCH_AFTER_S, watch.begin)
            try:
                try:
                    reply = await door.handler(handed)
                except Exception as error:  # noqa: BLE001 - the edge: whatever it is, it becomes a reply
                    reply = self.failed(error, door, asked)
                await self.send(reply, asked, send)
            except asyncio.CancelledError:
                if not watch.gone:
                    raise
            finally:
                timer.cancel()
                watch.end()

    async def received(
        self,
        asked: IncomingRequest,
        receive: ASGIReceiveCallable,
        send: ASGISendCallable,
        share: Share,
        *,
        credential: Credential | None,
        most: int,
        shape: Shape = envelope_as_it_is,
        rate: Rate = "open",
        check: Callable[[bytes], None] | None = None,
    ) -> bytes | None:
        """The whole body, unpacked. None: the request was refused and has its reply, or the client left.

        `check` raises what is wrong with it before anybody reads it.
        """
        share.belongs_to(address_of(asked.address))
        try:
            if credential is not None:
                credential(asked.headers)  # nothing of a stranger's body is kept
            encodings = encodings_in(asked.headers)
            identify = self.identify_in(asked, share, is_public=credential is None)
            async with asyncio.timeout(BODY_S):
                body = await whole_body(receive, asked.headers, most, share, identify)
                if body and encodings:
                    if identify is not None and share.is_stranger:
                        share.belongs_to(await identify())
                    body = await unpacked(body, encodings, most, share)
            if body and check is not None:
                check(body)
            if body is not None and rate == "reading" and self.reading is not None:
                await self.reading(asked, len(body))
            return body
        except TimeoutError:
            reply = self.failures.reply(BodyTimeout(), asked, shape)
            reply.headers["connection"] = "close"  # whoever took so long has nothing more to say
            await self.send(reply, asked, send)
        except KaixuError as error:
            share.give_back()
            reply = self.failures.reply(error, asked, shape)
            if isinstance(error, UnsupportedEncoding):
                reply.headers["accept-encoding"] = ACCEPTED
            if share.ended:
                await self.send(reply, asked, send)
            else:
                await self.refuse(reply, asked, receive, send)
        return None

    def identify_in(self, asked: IncomingRequest, share: Share, *, is_public: bool) -> Identify | None:
        """What looks up whose a request is; None where nobody asks for a key."""
        if is_public:
            return None
        look_up = self.identify
        if look_up is None:
            share.belongs_to(ANYBODY)
            return None
        return lambda: look_up(asked)

    async def refuse(
        self, reply: Reply, asked: IncomingRequest, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Send a reply at once to a request whose body was not read to its end."""
        assert isinstance(reply.body, bytes)
        length = announced(asked.headers)
        if length is None or length > SMALL_BODY_BYTES:
            reply.headers["connection"] = "close"  # what is left of the body is not worth reading
        # By its length the client knows that the reply is whole; the exchange itself ends after the body.
        if not await self.taken(send, asked, self.begun(reply, asked), piece(reply.body, more=True)):
            return
        if length != 0:
            await thrown_away(receive)
        await self.taken(send, asked, piece(b"", more=False))

    def failed(self, raised: Exception, door: Door, asked: IncomingRequest) -> Reply:
        """The reply to what was raised, in the door's own shape."""
        return self.failures.reply(raised, asked, door.shape)

    def without_handler(self, door: Door, asked: IncomingRequest) -> Reply:
        """A preflight, or a method that is not for this door."""
        if asked.method == "OPTIONS":
            return Reply(204, dict(PREFLIGHT), b"")
        reply = self.failed(MethodNotAllowed(f"{asked.method} is not for this path"), door, asked)
        reply.headers["allow"] = ", ".join(door.methods)
        return reply

    def begun(self, reply: Reply, asked: IncomingRequest) -> HTTPResponseStartEvent:
        """A reply's head, with what every reply has."""
        self.edge.finish(asked.method, asked.headers, asked.request_id, reply.headers)
        if isinstance(reply.body, bytes):
            reply.headers["content-length"] = str(len(reply.body))
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers.items()]
        return {"type": "http.response.start", "status": reply.status, "headers": headers, "trailers": False}

    async def send(self, reply: Reply, asked: IncomingRequest, send: ASGISendCallable) -> None:
        """Send a reply; a stream is closed however it ends."""
        body = reply.body
        try:
            start = self.begun(reply, asked)
            if isinstance(body, bytes):
                await self.whole(send, asked, start, body)
                return
            if not await self.taken(send, asked, start):
                return
            if asked.method == "HEAD":
                await self.taken(send, asked, piece(b"", more=False))
                return
            async for data in body:
                if not await self.taken(send, asked, *pieces(data)):
                    return
        finally:
            if not isinstance(body, bytes):
                await body.aclose()
        await self.taken(send, asked, piece(b"", more=False))

    async def whole(
        self, send: ASGISendCallable, asked: IncomingRequest, start: HTTPResponseStartEvent, body: bytes
    ) -> None:
        """Send a reply that is whole; a short one's body is one message, and what asks for the head gets none."""
        if asked.method == "HEAD":
            body = b""
        *before, last = pieces(body)
        await self.taken(send, asked, start, *before, {**last, "more_body": False})

    async def taken(
        self, send: ASGISendCallable, asked: IncomingRequest, *messages: HTTPResponseStartEvent | HTTPResponseBodyEvent
    ) -> bool:
        """Whether the reader took `messages`, each of them in time; one that did not is as good as gone."""
        stall_s = self.limits().stall_s
        for message in messages:
            try:
                async with asyncio.timeout(stall_s):
                    await send(message)
            except TimeoutError:
                log.warning("request %s: its reader took nothing for %g s", asked.request_id, stall_s)
                return False
        return True


def pieces(data: bytes) -> Iterator[HTTPResponseBodyEvent]:
    """Parts of a reply's body that also a slow reader takes in time."""
    if len(data) <= PIECE_BYTES:
        yield piece(data, more=True)
        return
    for at in range(0, len(data), PIECE_BYTES):
        yield piece(data[at : at + PIECE_BYTES], more=True)


def piece(data: bytes, *, more: bool) -> HTTPResponseBodyEvent:
    """A part of a reply's body."""
    return {"type": "http.response.body", "body": data, "more_body": more}
