"""A wire for tests: it answers from a list."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import httpx
import msgspec

from kaixu.plugin.blob import Blob, BlobBody, Read, prepare_blob_body
from kaixu.plugin.errors import KaixuError, TicketClosed, UpstreamError, UpstreamTimeout
from kaixu.plugin.origins import Hosts
from kaixu.plugin.own_thread import ThreadWire
from kaixu.plugin.refusals import refusal, retry_after
from kaixu.plugin.tries import (
    ONCE,
    Accept,
    Tries,
    accepted_statuses,
    answer_too_large,
    require_most_bytes,
    with_tries,
)

from .checks import must


class Answer(msgspec.Struct, frozen=True):
    """One answer of a vendor. `broken` is raised after the last chunk, as if the connection broke there."""

    status: int = 200
    headers: Mapping[str, str] = {}
    chunks: Sequence[bytes] = ()
    broken: Exception | None = None


#: An exception instead of an answer: one of httpx, `TimeoutError`, or one of the contract.
Reply = Answer | Exception
Respond = Callable[[httpx.Request], Reply]

#: Headers by which a vendor recognizes a request that arrives twice.
SAYS_WHICH = re.compile(r"idempoten|(^|-)id$")

#: What `aread` of a response reads at most.
MOST_WHOLE_BYTES = 160 * 1024 * 1024


def event_stream(*data: object, done: bool = True, broken: Exception | None = None) -> Answer:
    """A stream with one event and one chunk for each of `data`: text unchanged, anything else as JSON."""
    texts = [value.encode() if isinstance(value, str) else msgspec.json.encode(value) for value in data]
    chunks = [b"data: " + text + b"\n\n" for text in (*texts, *([b"[DONE]"] if done else []))]
    return Answer(200, {"content-type": "text/event-stream"}, chunks, broken)


def json_answer(value: object, status: int = 200) -> Answer:
    """An answer in one piece."""
    return Answer(status, {"content-type": "application/json"}, [msgspec.json.encode(value)])


class FakeWire:
    """A wire that sends nothing and returns `answers` in order; if the last one is a function, it answers all the rest.

    `requests` contains what was sent, each try of it. Raises what the real wire raises; does not wait between tries,
    but `pauses` contains the seconds. `open` is the number of responses that are not closed yet. `has_finished`: the
    lane has called `finished`. `hosts`: where it may send; None: anywhere, as a lane may. `sent`: called with the size
    of each body that was accepted. `require_room`: called with the size of each body before it is sent. `pause`:
    awaited before each try. `late`: how often it was used after the call. `abandoned`: how many
    answers were never closed. `risky`: requests that `tries` sends again
    though no header says which ones they are.
    """

    def __init__(self, *answers: Reply | Respond) -> None:
        self.hosts: Hosts | None = None
        self.sent: Callable[[int], None] | None = None
        self.require_room: Callable[[int], None] | None = None
        self.pause: Callable[[], Awaitable[None]] | None = None
        self.late = 0
        self.abandoned = 0
        self.risky: list[str] = []
        self.most_whole_bytes = MOST_WHOLE_BYTES
        self.read_blob: Read | None = None
        self.pauses: list[float] = []
        self.answers = answers
        self.requests: list[httpx.Request] = []
        self.open = 0
        self.closed = False
        self.notes: list[str] = []
        self.has_finished = False

    def finished(self) -> None:
        """See `kaixu.plugin.Wire.finished`."""
        self.has_finished = True

    def note(self, what: str) -> None:
        """See `kaixu.plugin.Wire.note`; stored in `notes`."""
        self.notes.append(what)

    def close(self) -> None:
        """Settle the call: the wire sends nothing more."""
        self.closed = True

    def send(
        self,
        request: httpx.Request,
        *,
        accept: Accept = (),
        tries: Tries = ONCE,
        timeout_s: float | None = None,
        most_bytes: int | None = None,
    ) -> AbstractAsyncContextManager[httpx.Response]:
        """See `kaixu.plugin.Wire.send` and `kaixu.plugin.IntegrationWire.send`."""
        prepare_blob_body(request)
        require_most_bytes(most_bytes)
        return self.exchange(request, accepted_statuses(accept), tries, most_bytes)

    def body(self, blobs: Blob | Sequence[Blob]) -> BlobBody:
        """See `kaixu.plugin.IntegrationWire.body`."""
        must(self.read_blob is not None, "this wire belongs to no call, so it has no blobs")
        assert self.read_blob is not None
        return BlobBody([blobs] if isinstance(blobs, Blob) else blobs, self.read_blob)

    def may_send_to(self, url: str) -> bool:
        """See `kaixu.plugin.IntegrationWire.may_send_to`."""
        try:
            return self.hosts is None or self.hosts.allow(httpx.URL(url))
        except (httpx.InvalidURL, ValueError):
            return False

    def blocking(self) -> ThreadWire:
        """See `kaixu.plugin.IntegrationWire.blocking`."""
        return ThreadWire(self)

    @asynccontextmanager
    async def exchange(
        self, request: httpx.Request, accept: Collection[int], tries: Tries, most_bytes: int | None = None
    ) -> AsyncIterator[httpx.Response]:
        """One request, and the answer of its last try."""

        async def attempt() -> httpx.Response:
            return await self.attempt(request, accept, most_bytes)

        async def pause(seconds: float) -> bool:
            self.pauses.append(seconds)
            return True

        if tries.most > 1 and request.method in ("POST", "PATCH") and not says_which(request):
            self.risky.append(f"{request.method} {request.url}")
        response = await with_tries(request, tries, attempt, pause)
        self.open += 1
        try:
            yield response
        except GeneratorExit:  # nobody has left the block: Python has found it lying about
            self.abandoned += 1
            raise
        finally:
            self.open -= 1
            await response.aclose()

    async def attempt(
        self, request: httpx.Request, accept: Collection[int], most_bytes: int | None = None
    ) -> httpx.Response:
        """One try and its answer."""
        self._require_open()
        if self.hosts is not None:
            self.hosts.require(request.url)
        content = await request.aread()  # a body of blobs is in memory from now on
        if self.require_room is not None:
            self.require_room(len(content))
        self.requests.append(request)
        if self.pause is not None:
            await self.pause()
        reply = self.next_reply(request)
        if isinstance(reply, Exception):
            raise no_answer(reply) from reply
        if 200 <= reply.status < 300:
            if self.sent is not None and content:
                self.sent(len(content))
        elif reply.status not in accept:
            wait_s = retry_after(httpx.Headers(dict(reply.headers)))
            refused = refusal(reply.status, wait_s, b"".join(reply.chunks))
            refused.told_wait_s = wait_s
            raise refused
        chunks = Chunks(reply, self._require_open, most_bytes)
        response = WholeResponse(reply.status, headers=dict(reply.headers), stream=chunks, request=request)
        response.most_bytes = min(most_bytes or self.most_whole_bytes, self.most_whole_bytes)
        return response

    def _require_open(self) -> None:
        if self.closed:
            self.late += 1
            raise TicketClosed("the call has been settled; its wire is closed")

    def next_reply(self, request: httpx.Request) -> Reply:
        """The next answer. Raises `AssertionError` when there is none."""
        turn = len(self.requests)
        if self.answers and callable(self.answers[-1]):
            turn = min(turn, len(self.answers))
        must(turn <= len(self.answers), f"request {turn} came, but there is no answer for it")
        answer = self.answers[turn - 1]
        return answer(request) if callable(answer) else answer


class WholeResponse(httpx.Response):
    """A response whose `aread` is bounded, as that of the real wire."""

    most_bytes = MOST_WHOLE_BYTES

    async def aread(self) -> bytes:
        """The whole body. Raises `UpstreamError` when it is larger than `most_bytes`."""
        if not hasattr(self, "_content"):
            pieces, size = [], 0
            async for piece in self.aiter_raw():
                size += len(piece)
                if size > self.most_bytes:
                    raise answer_too_large(self.most_bytes)
                pieces.append(piece)
            self._content = b"".join(pieces)
        return self._content


class Chunks(httpx.AsyncByteStream):
    """An answer's body, piece by piece."""

    def __init__(
        self, answer: Answer, require_open: Callable[[], None] = lambda: None, most_bytes: int | None = None
    ) -> None:
        self.answer = answer
        self._require_open = require_open
        self._most_bytes = most_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        for chunk in self.answer.chunks:
            self._require_open()
            size += len(chunk)
            if self._most_bytes is not None and size > self._most_bytes:
                raise answer_too_large(self._most_bytes)
            yield chunk
        if self.answer.broken is not None:
            raise self.answer.broken


def says_which(request: httpx.Request) -> bool:
    """Whether a header tells the vendor which request this is, so that it can arrive twice."""
    return any(SAYS_WHICH.search(name.lower()) for name in request.headers)


def no_answer(error: Exception) -> Exception:
    """The error that the real wire raises if the vendor does not answer."""
    if isinstance(error, KaixuError):
        return error
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return UpstreamTimeout("the vendor did not answer in time")
    if isinstance(error, httpx.ConnectError | httpx.UnsupportedProtocol):
        return UpstreamError("the vendor could not be reached")
    if isinstance(error, httpx.HTTPError):
        return UpstreamError("the connection to the vendor broke")
    return error
