"""The fakes for plugin authors behave like the real wire, and the contract tests detect broken contracts."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from kaixu.metering.wire import TicketWire, WireLimits
from kaixu.plugin import (
    ChatDelta,
    ChatEvent,
    ChatRequest,
    Finish,
    Lane,
    Message,
    ReasoningDelta,
    TextPart,
    TicketClosed,
    ToolCallDelta,
    UpstreamBusy,
    UpstreamError,
    UpstreamRejected,
    UpstreamTimeout,
    Usage,
    Wire,
)
from kaixu.plugin.testing import Answer, FakeWire, check_lane, event_stream, json_answer

REQUEST = ChatRequest("m", (Message("user", (TextPart("Hello"),)),), 10)


def ask() -> httpx.Request:
    return httpx.Request("POST", "https://vendor.test/chat", content=b"{}")


async def test_answers_come_in_turn_and_requests_are_kept() -> None:
    wire = FakeWire(json_answer({"n": 1}), event_stream({"n": 2}, "plain"))
    asked = [ask(), ask()]
    async with wire.send(asked[0]) as response:
        assert wire.open == 1
        assert await response.aread() == b'{"n":1}'
    async with wire.send(asked[1]) as response:
        assert response.headers["content-type"] == "text/event-stream"
        chunks = [chunk async for chunk in response.aiter_bytes()]
    assert chunks == [b'data: {"n":2}\n\n', b"data: plain\n\n", b"data: [DONE]\n\n"]
    assert wire.requests == asked
    assert wire.open == 0


async def test_a_function_answers_whatever_comes_after_the_others() -> None:
    wire = FakeWire(json_answer("first"), lambda request: json_answer(request.url.path))
    said = []
    for _ in range(3):
        async with wire.send(ask()) as response:
            said.append(await response.aread())
    assert said == [b'"first"', b'"/chat"', b'"/chat"']


async def test_a_function_may_fail_as_a_vendor_does() -> None:
    with pytest.raises(UpstreamBusy):
        async with FakeWire(lambda request: json_answer({}, 529)).send(ask()):
            pass


async def test_a_request_without_an_answer_fails_the_test() -> None:
    with pytest.raises(AssertionError, match="request 1 came"):
        async with FakeWire().send(ask()):
            pass


@pytest.mark.parametrize(
    ("status", "error"),
    [
        *[(status, UpstreamRejected) for status in (400, 404, 413, 422)],
        *[(status, UpstreamError) for status in (401, 403, 500, 502)],
        (429, UpstreamBusy),
    ],
)
async def test_a_refusal_is_raised_as_the_real_wire_raises_it(status: int, error: type[Exception]) -> None:
    with pytest.raises(UpstreamError) as caught:
        async with FakeWire(Answer(status, {"retry-after": "9"})).send(ask()):
            pass
    assert type(caught.value) is error


class Vendor(httpx.AsyncBaseTransport):
    """Answers with one status."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(self.answer.status, headers=dict(self.answer.headers), content=b"vendor secret")


@pytest.mark.parametrize(
    "headers",
    [{}, {"retry-after": "0"}, {"retry-after": "soon"}, {"Retry-After": "7"}, {"retry-after-ms": "1500"}],
    ids=["none", "at once", "no number", "seconds", "milliseconds"],
)
async def test_every_status_means_the_same_to_both_wires(headers: dict[str, str]) -> None:
    limits = WireLimits(connect_s=5, first_byte_s=5, between_bytes_s=5, total_s=5, retries=0)
    for status in range(300, 600):
        answer = Answer(status, headers, [b"vendor secret"])
        said = []
        for wire in (FakeWire(answer), TicketWire(Vendor(answer), limits)):
            with pytest.raises(UpstreamError) as caught:
                async with wire.send(ask()):
                    pass
            said.append((type(caught.value), caught.value.message, caught.value.hint, caught.value.retry_after_s))
        assert said[0] == said[1]


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (TimeoutError(), UpstreamTimeout),
        (httpx.ReadTimeout("slow"), UpstreamTimeout),
        (httpx.ConnectError("away"), UpstreamError),
        (UpstreamBusy("busy", retry_after_s=3), UpstreamBusy),
        (ValueError("a bug of the test"), ValueError),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else type(value).__name__,
)
async def test_no_answer_at_all_is_raised_in_the_contract_s_words(failure: Exception, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        async with FakeWire(failure).send(ask()):
            pass
    assert type(caught.value) is error


async def test_a_vendor_that_hangs_up_breaks_after_its_last_chunk() -> None:
    wire = FakeWire(event_stream("a", "b", done=False, broken=httpx.ReadError("gone")))
    got: list[bytes] = []

    async def read() -> None:
        async with wire.send(ask()) as response:
            async for chunk in response.aiter_bytes():
                got.append(chunk)

    with pytest.raises(httpx.ReadError):
        await read()
    assert got == [b"data: a\n\n", b"data: b\n\n"]
    assert wire.open == 0


async def test_a_closed_wire_sends_nothing() -> None:
    wire = FakeWire(json_answer({}))
    wire.close()
    with pytest.raises(TicketClosed):
        async with wire.send(ask()):
            pass
    assert wire.requests == []


class Says(Lane):
    """A lane that yields the given events."""

    def __init__(self, *events: object) -> None:
        self.events = events

    async def chat(self, request: ChatRequest, wire: Wire) -> AsyncIterator[ChatEvent]:
        for event in self.events:
            yield event  # type: ignore[misc]


async def test_a_lane_that_keeps_the_contract_gets_its_events_back() -> None:
    events = [
        ReasoningDelta("hm"),
        ChatDelta("Hel"),
        Usage(3, 1),
        ToolCallDelta(0, "call_1", "add", ""),
        ToolCallDelta(0, arguments="{}"),
        Finish("tool_calls"),
        Usage(3, 2, cached_input_tokens=3, reasoning_tokens=1),
    ]
    assert await check_lane(Says(*events), REQUEST, FakeWire()) == events


@pytest.mark.parametrize(
    ("events", "says"),
    [
        (["text"], "is not an event"),
        ([ChatDelta("")], "has no text"),
        ([ChatDelta(b"bytes")], "has no text"),  # type: ignore[arg-type]
        ([Finish("stop"), ChatDelta("more")], "comes after"),
        ([Finish("stop"), Finish("stop")], "comes after"),
        ([Finish("")], "gives no reason"),
        ([ToolCallDelta(1, arguments="{}")], "without its name"),
        ([Usage(3, 2), Usage(3, 1)], "output_tokens fell"),
        ([Usage(3, 0, cached_input_tokens=4)], "more input was cached"),
        ([Usage(3, 1, reasoning_tokens=2)], "more reasoning"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_lane_that_breaks_the_contract_is_told_how(events: list[object], says: str) -> None:
    with pytest.raises(AssertionError, match=says):
        await check_lane(Says(*events), REQUEST, FakeWire())


async def test_a_lane_that_keeps_a_response_open_is_told_so() -> None:
    class Keeps(Lane):
        async def chat(self, request: ChatRequest, wire: Wire) -> AsyncIterator[ChatEvent]:
            self.held = wire.send(ask())
            await self.held.__aenter__()
            yield Finish("stop")

    lane = Keeps()
    wire = FakeWire(json_answer({}))
    with pytest.raises(AssertionError, match="kept a response open"):
        await check_lane(lane, REQUEST, wire)
    await lane.held.__aexit__(None, None, None)
