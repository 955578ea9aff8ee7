"""The contract tests of lanes whose vendor answers in one piece where a client does not stream (`Lane.chat_plain`)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, cast

import httpx

from kaixu.plugin.errors import TicketClosed, UpstreamError
from kaixu.plugin.lane import offers_plain_answers
from kaixu.plugin.refusals import refusal
from kaixu.plugin.types import ChatDelta, ChatEvent, ChatRequest, Finish, Native, NativeEvent, Usage

from .checks import check_lane, must
from .failures import STATUSES
from .lane_case import LaneCase
from .wire import Answer, FakeWire, json_answer

#: A field that no vendor has: it must reach the client all the same.
UNKNOWN = "x_field_that_nobody_knows"

#: Invalid answers in one piece: each must raise an error.
PLAIN_NONSENSE: tuple[bytes, ...] = (
    b"",
    b"{}",
    b"[]",
    b"17",
    b'"text"',
    b"null",
    b"{not json",
    b"<html>Bad gateway</html>",
    b"\xff\xfe\x00\x01",
    b'{"choices": 3}',
    b'{"error": {"message": "no"}}',
)


class PlainAnswers(LaneCase):
    """Tests of `chat_plain`; nothing to do for a lane without it."""

    def plain(self, text: str = "Hello", usage: Usage = Usage(3, 2)) -> Answer | None:  # noqa: B008 - frozen
        """The vendor's answer in one piece; None: the lane does not ask for one."""
        if not offers_plain_answers(self.lane()):
            return None
        answer = self.says_plain(text, usage)
        must(answer is not None, "the lane has `chat_plain`: return the vendor's answer in one piece in `says_plain`")
        return answer

    def test_a_plain_answer_is_that_of_a_stream(self) -> None:
        answer = self.plain()
        if answer is None:
            return
        plain, wire = self.answered(answer, plain=True)
        streamed, streaming = self.answered(self.says(["Hel", "lo"], Usage(3, 2)))
        self.must_say(plain, "Hello")
        must(last(plain, Finish) == last(streamed, Finish), f"the end is {last(plain, Finish)!r}")
        if self.reports_usage:
            told, expected = last(plain, Usage), last(streamed, Usage)
            must(told == expected, f"the bill would differ: the plain answer has {told!r}, the stream {expected!r}")
        self.must_ask(wire)
        asked = [(one.requests[-1].url, one.requests[-1].content) for one in (wire, streaming)]
        must(asked[0] != asked[1], "`chat_plain` asks for a stream, as `chat` does")

    def test_a_vendor_that_streams_a_plain_answer_is_read(self) -> None:
        if self.plain() is None:
            return
        events, _ = self.answered(self.says(["Hel", "lo"], Usage(3, 2)), plain=True)
        self.must_say(events, "Hello")
        must(last(events, Finish) is not None, "no Finish came from a stream")

    def test_where_the_network_cuts_a_plain_answer_does_not_matter(self) -> None:
        text = "one\u2028two, gr\u00fc\u00dfe, \u4e16\u754c\r\n and more"
        answer = self.plain(text, Usage(3, 9))
        if answer is None:
            return
        whole = b"".join(answer.chunks)
        for chunks in ([whole[at : at + 1] for at in range(len(whole))], [whole], [b"\n\n", whole, b"\n"]):
            for kind in ("application/json", "text/event-stream", "text/plain"):
                events, _ = self.answered(Answer(200, {"content-type": kind}, chunks), plain=True)
                self.must_say(events, text)

    def test_a_plain_tool_call_that_streams_has_its_name_and_arguments(self) -> None:
        answer = None if self.plain() is None else self.calls("weather", '{"city": "Oslo"}')
        if answer is None:
            return
        events, _ = self.answered(answer, plain=True)
        reasons = [event.reason for event in events if isinstance(event, Finish)]
        must(reasons == ["tool_calls"], f"the finish reason must be 'tool_calls', it is {reasons!r}")

    def test_unknown_fields_of_a_plain_answer_reach_a_native_client(self) -> None:
        answer, native = self.plain(), self.lane().native
        if answer is None or native is None:
            return
        body = json.loads(b"".join(answer.chunks))
        asked = {"model": "ours", "max_tokens": 64, "messages": [{"role": "user", "content": "Hello"}]}
        simple = self.request()
        request = ChatRequest(simple.model, simple.messages, simple.max_tokens, native=Native(native, asked))
        events, wire = self.answered(json_answer(body | {UNKNOWN: [None, 7]}), request, plain=True)
        natives = [event.data for event in events if isinstance(event, NativeEvent)]
        must(bool(natives), "no NativeEvent came for a native request")
        must(any(has_field(one, UNKNOWN) for one in natives), "an unknown field of the vendor's answer was lost")
        self.must_ask(wire)

    def test_a_refused_plain_call_is_the_wire_s_error(self) -> None:
        if self.plain() is None:
            return
        for status in STATUSES:
            answer = json_answer({"error": {"message": f"no, {self.secret}"}}, status)
            error, expected = self.failed(answer, plain=True), refusal(status, None, b"".join(answer.chunks))
            must(type(error) is type(expected), f"{status}: the lane must pass on {expected!r}; it raised {error!r}")

    def test_a_plain_answer_that_breaks_off_is_no_answer(self) -> None:
        answer = self.plain("One, two, three, four", Usage(3, 8))
        if answer is None:
            return
        data = b"".join(answer.chunks)
        for part in (0, len(data) // 3, len(data) // 2, len(data) - 1):
            self.failed(Answer(200, answer.headers, [data[:part]]), plain=True)
            self.failed(Answer(200, answer.headers, [data[:part]], httpx.ReadError("gone")), plain=True)

    def test_plain_nonsense_is_an_error_of_the_vendor(self) -> None:
        if self.plain() is None:
            return
        for nonsense in PLAIN_NONSENSE:
            error = self.failed(Answer(200, {"content-type": "application/json"}, [nonsense]), plain=True)
            must(isinstance(error, UpstreamError), f"{nonsense!r} must be an UpstreamError, it is {error!r}")

    def test_a_plain_call_that_is_left_leaves_nothing_open(self) -> None:
        answer = self.plain()
        if answer is None:
            return
        wire = FakeWire(answer)

        async def leave() -> None:
            events = cast(AsyncGenerator[ChatEvent, None], self.lane().chat_plain(self.request(), wire))
            async with aclosing(events) as open_events:
                async for _ in open_events:
                    break

        asyncio.run(leave())
        must(wire.open == 0, "the response stays open after the client left: send inside `async with`")

    def test_plain_calls_at_the_same_time_do_not_mix(self) -> None:
        if self.plain() is None:
            return
        lane = self.lane()

        async def both() -> list[str]:
            async def one(words: str) -> str:
                answer = self.says_plain(words, Usage(3, 2))
                assert answer is not None
                events = await check_lane(lane, self.request(words), FakeWire(answer), plain=True)
                return "".join(event.text for event in events if isinstance(event, ChatDelta))

            return list(await asyncio.gather(*(one(f"call {at}") for at in range(20))))

        must(asyncio.run(both()) == [f"call {at}" for at in range(20)], "the lane keeps state between calls")

    def test_a_plain_call_does_not_go_around_a_closed_wire(self) -> None:
        answer = self.plain()
        if answer is None:
            return
        wire = FakeWire(answer)
        wire.close()
        error = self.raised(wire, plain=True)
        must(isinstance(error, TicketClosed), f"the lane must pass on TicketClosed, it raised {error!r}")


def last(events: Sequence[ChatEvent], kind: type[ChatEvent]) -> ChatEvent | None:
    """The last event of a kind."""
    return next((event for event in reversed(events) if isinstance(event, kind)), None)


def has_field(value: Any, name: str) -> bool:
    """Whether a field is anywhere in a JSON value."""
    if isinstance(value, dict):
        return name in value or any(has_field(inner, name) for inner in value.values())
    return isinstance(value, list) and any(has_field(inner, name) for inner in value)
