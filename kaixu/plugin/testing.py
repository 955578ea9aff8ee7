"""What plugin authors test with: a wire that answers from a list, and the contract that every lane keeps.

wire = FakeWire(event_stream({"choices": [{"delta": {"content": "Hello"}}]}))
events = await check_lane(MyLane(options), request, wire)
assert json.loads(wire.requests[0].content)["model"] == "their-model"
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import httpx
import msgspec

from kaixu.plugin.errors import KaixuError, TicketClosed, UpstreamError, UpstreamTimeout
from kaixu.plugin.lane import Lane, Wire
from kaixu.plugin.refusals import refusal, retry_after
from kaixu.plugin.types import (
    ChatDelta,
    ChatEvent,
    ChatRequest,
    Finish,
    NativeEvent,
    ReasoningDelta,
    ToolCallDelta,
    Usage,
)


class Answer(msgspec.Struct, frozen=True):
    """One answer of a vendor. `broken` is raised after the last of `chunks`: the vendor hung up there."""

    status: int = 200
    headers: Mapping[str, str] = {}
    chunks: Sequence[bytes] = ()
    broken: Exception | None = None


#: An exception in an answer's place means that none came: httpx's, `TimeoutError`, or one of the contract's.
Reply = Answer | Exception
Respond = Callable[[httpx.Request], Reply]


def event_stream(*data: object, done: bool = True, broken: Exception | None = None) -> Answer:
    """A stream with one event, and one chunk, for each of `data`: text as it is, anything else as JSON."""
    texts = [value.encode() if isinstance(value, str) else msgspec.json.encode(value) for value in data]
    chunks = [b"data: " + text + b"\n\n" for text in (*texts, *([b"[DONE]"] if done else []))]
    return Answer(200, {"content-type": "text/event-stream"}, chunks, broken)


def json_answer(value: object, status: int = 200) -> Answer:
    """An answer in one piece."""
    return Answer(status, {"content-type": "application/json"}, [msgspec.json.encode(value)])


class FakeWire:
    """A wire that sends nothing: it answers in turn; a function as the last answer is asked for all that follow.

    `requests` keeps what was sent. Raises what the real wire raises, without its retries. `open` counts the
    responses that are being read; it is 0 again when a lane has left them all.
    """

    def __init__(self, *answers: Reply | Respond) -> None:
        self.answers = answers
        self.requests: list[httpx.Request] = []
        self.open = 0
        self.closed = False

    def close(self) -> None:
        """The call has been settled: from now on nothing goes out."""
        self.closed = True

    def send(self, request: httpx.Request) -> AbstractAsyncContextManager[httpx.Response]:
        """See `kaixu.plugin.Wire.send`."""
        return self.exchange(request)

    @asynccontextmanager
    async def exchange(self, request: httpx.Request) -> AsyncIterator[httpx.Response]:
        """One request and its answer."""
        if self.closed:
            raise TicketClosed("the call has been settled; its wire is closed")
        self.requests.append(request)
        reply = self.next_reply(request)
        if isinstance(reply, Exception):
            raise no_answer(reply) from reply
        if not 200 <= reply.status < 300:
            raise refusal(reply.status, retry_after(httpx.Headers(dict(reply.headers))))
        response = httpx.Response(reply.status, headers=dict(reply.headers), stream=Chunks(reply), request=request)
        self.open += 1
        try:
            yield response
        finally:
            self.open -= 1
            await response.aclose()

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
    """What the real wire raises where the vendor did not answer at all."""
    if isinstance(error, KaixuError):
        return error
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return UpstreamTimeout("the vendor did not answer in time")
    if isinstance(error, httpx.HTTPError):
        return UpstreamError("the vendor could not be reached")
    return error


def must(holds: bool, says: str) -> None:
    """An assertion that `python -O` keeps."""
    if not holds:
        raise AssertionError(says)


async def check_lane(lane: Lane, request: ChatRequest, wire: Wire) -> list[ChatEvent]:
    """The events of one chat call, after it was seen that they keep the contract.

    Text comes as text and is not empty; a tool call is named by its first
    piece; usage never falls and its parts are not more than the whole; there is
    at most one finish and nothing but usage after it; and a lane leaves every
    response that it has read. Raises `AssertionError`; what the lane raises goes through.
    """
    events = [event async for event in lane.chat(request, wire)]
    named: set[int] = set()
    usage = Usage()
    finish: Finish | None = None
    for event in events:
        must(isinstance(event, ChatEvent), f"{event!r} is not an event of the contract")
        must(finish is None or isinstance(event, Usage | NativeEvent), f"{event!r} comes after {finish!r}")
        if isinstance(event, NativeEvent):
            must(request.native is not None, f"{event!r} answers a request that was not native")
        elif isinstance(event, ReasoningDelta):
            must(event.text != "" or event.opaque is not None, f"{event!r} carries nothing")
        elif isinstance(event, ChatDelta):
            must(isinstance(event.text, str) and event.text != "", f"{event!r} carries no text")
        elif isinstance(event, ToolCallDelta):
            must(event.index in named or bool(event.name), f"{event!r} begins a tool call without its name")
            named.add(event.index)
        elif isinstance(event, Usage):
            check_usage(usage, event)
            usage = event
        else:
            must(isinstance(event.reason, str) and event.reason != "", f"{event!r} gives no reason")
            finish = event
    if isinstance(wire, FakeWire):
        must(wire.open == 0, "the lane kept a response open: read it inside `async with wire.send(...)`")
    return events


def check_usage(before: Usage, now: Usage) -> None:
    """Running totals: none may fall, and a part is not more than the whole."""
    for field in (
        "input_tokens",
        "output_tokens",
        "cached_input_tokens",
        "cache_write_tokens",
        "reasoning_tokens",
    ):
        must(getattr(now, field) >= getattr(before, field), f"{field} fell: {before!r}, then {now!r}")
    cached = now.cached_input_tokens + now.cache_write_tokens
    must(cached <= now.input_tokens, f"{now!r}: more input was cached than there was")
    must(now.reasoning_tokens <= now.output_tokens, f"{now!r}: more reasoning than output")
