"""A wire for tests: it answers from a list."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import httpx
import msgspec

from kaixu.plugin.blob import Blob, BlobBody, Read, prepare_blob_body
from kaixu.plugin.errors import KaixuError, TicketClosed, UpstreamError, UpstreamTimeout
from kaixu.plugin.origins import Hosts
from kaixu.plugin.own_thread import ThreadWire
from kaixu.plugin.refusals import refusal, retry_after
from kaixu.plugin.tries import ONCE, Tries, with_tries

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
    of each body that was accepted.
    """

    def __init__(self, *answers: Reply | Respond) -> None:
        self.hosts: Hosts | None = None
        self.sent: Callable[[int], None] | None = None
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
        accept: Collection[int] = (),
        tries: Tries = ONCE,
        timeout_s: float | None = None,
    ) -> AbstractAsyncContextManager[httpx.Response]:
        """See `kaixu.plugin.Wire.send` and `kaixu.plugin.IntegrationWire.send`."""
        prepare_blob_body(request)
        return self.exchange(request, accept, tries)

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
        self, request: httpx.Request, accept: Collection[int], tries: Tries
    ) -> AsyncIterator[httpx.Response]:
        """One request, and the answer of its last try."""

        async def attempt() -> httpx.Response:
            return await self.attempt(request, accept)

        async def pause(seconds: float) -> bool:
            self.pauses.append(seconds)
            return True

        response = await with_tries(request, tries, attempt, pause)
        self.open += 1
        try:
            yield response
        finally:
            self.open -= 1
            await response.aclose()

    async def attempt(self, request: httpx.Request, accept: Collection[int]) -> httpx.Response:
        """One try and its answer."""
        if self.closed:
            raise TicketClosed("the call has been settled; its wire is closed")
        if self.hosts is not None:
            self.hosts.require(request.url)
        content = await request.aread()  # a body of blobs is in memory from now on
        self.requests.append(request)
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
        return httpx.Response(reply.status, headers=dict(reply.headers), stream=Chunks(reply), request=request)

    def next_reply(self, request: httpx.Request) -> Reply:
        """The next answer. Raises `AssertionError` when there is none."""
        turn = len(self.requests)
        if self.answers and callable(self.answers[-1]):
            turn = min(turn, len(self.answers))
        must(turn <= len(self.answers), f"request {turn} came, but there is no answer for it")
        answer = self.answers[turn - 1]
        return answer(request) if callable(answer) else answer


class Chunks(httpx.AsyncByteStream):
    """An answer's body, piece by piece."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self.answer.chunks:
            yield chunk
        if self.answer.broken is not None:
            raise self.answer.broken


def no_answer(error: Exception) -> Exception:
    """The error that the real wire raises if the vendor does not answer."""
    if isinstance(error, KaixuError):
        return error
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return UpstreamTimeout("the vendor did not answer in time")
    if isinstance(error, httpx.HTTPError):
        return UpstreamError("the vendor could not be reached")
    return error
