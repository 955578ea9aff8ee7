"""The contract tests of chat lanes: subclass `LaneContract`, define how your vendor answers, run pytest."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import cast

import httpx
from pydantic import BaseModel

from kaixu.plugin.errors import TicketClosed, UpstreamError, UpstreamTimeout
from kaixu.plugin.refusals import refusal
from kaixu.plugin.types import (
    ChatDelta,
    ChatEvent,
    ChatRequest,
    Finish,
    Tool,
    ToolCallDelta,
    Usage,
)

from .checks import check_lane, must
from .failures import STATUSES, error_of
from .plain_answers import PlainAnswers
from .wire import Answer, FakeWire, json_answer

#: Invalid responses: each must raise an error.
NONSENSE: tuple[bytes, ...] = (
    b"",
    b"<html>Bad gateway</html>",
    b"data: {not json\n\n",
    b"data: []\n\n",
    b"data: 17\n\n",
    b'data: "text"\n\n',
    b"data: null\n\n",
    b"\xff\xfe\x00\x01",
    b'{"choices": 3}',
    b'data: {"choices": "text"}\n\n',
    b'data: {"choices": [{"delta": 5}]}\n\n',
    b'data: {"candidates": [7]}\n\n',
    b'event: content_block_delta\ndata: {"type": "content_block_delta", "delta": 1}\n\n',
)

#: Usual names of fields with secrets.
SECRET_NAME = re.compile(r"key|secret|token|password|credential", re.IGNORECASE)

UNICODE = "grüße, 世界 and 👩‍🚀 to all"


class LaneContract(PlainAnswers):
    """The contract of chat lanes. Define how to create the lane and how the vendor answers.

    `secret` is in its options and must not appear anywhere.
    """

    def test_an_answer_comes_whole_with_its_usage_and_its_end(self) -> None:
        events, wire = self.answered(self.says(["Hel", "lo"], Usage(3, 2)))
        self.must_say(events, "Hello")
        must(any(isinstance(event, Finish) and event.reason == "stop" for event in events), "no Finish('stop') came")
        if self.reports_usage:
            usages = [event for event in events if isinstance(event, Usage)]
            must(bool(usages), "no Usage came, though the vendor reported it")
            figures = usages[-1].input_tokens, usages[-1].output_tokens
            must(figures == (3, 2), f"the last Usage is {figures}, the vendor reported (3, 2)")
            reported_end = wire.has_finished or not wire.requests
            must(reported_end, "call `wire.finished()` when the vendor has sent its finish reason")
        self.must_ask(wire)

    def test_where_the_network_cuts_an_answer_does_not_matter(self) -> None:
        whole = b"".join(self.says(["gr", "üße, 世界 and ", "👩‍🚀", " to all"], Usage(3, 9)).chunks)
        answer = self.says([], Usage())
        bytewise = Answer(answer.status, answer.headers, [whole[at : at + 1] for at in range(len(whole))])
        events, _ = self.answered(bytewise)
        self.must_say(events, UNICODE)
        at_once, _ = self.answered(Answer(answer.status, answer.headers, [whole]))
        self.must_say(at_once, UNICODE)

    def test_texts_that_hold_line_separators_come_whole(self) -> None:
        pieces = ["one\u2028two", "\u2029", "three\x85four", "\r\n", "\x0b\x0c\x1c five"]
        events, _ = self.answered(self.says(pieces, Usage(3, 9)))
        self.must_say(events, "".join(pieces))

    def test_how_a_stream_is_written_does_not_matter(self) -> None:
        whole = self.says(["Hel", "lo"], Usage(3, 2))
        if not whole.headers.get("content-type", "").startswith("text/event-stream"):
            return
        heartbeats = [b": alive\n\n", b"data:\n\n", b"data: \n\n", b"\n"]
        variants = {
            "no blank after `data:`": [chunk.replace(b"data: ", b"data:") for chunk in whole.chunks],
            "CRLF": [chunk.replace(b"\n", b"\r\n") for chunk in whole.chunks],
            "empty events between": [piece for chunk in whole.chunks for piece in (*heartbeats, chunk)],
        }
        for variant, chunks in variants.items():
            events, _ = self.answered(Answer(whole.status, whole.headers, chunks))
            self.must_say(events, "Hello")
            must(any(isinstance(event, Finish) for event in events), f"no Finish came for a stream with {variant}")

    def test_the_body_decides_what_an_answer_is(self) -> None:
        whole = self.says(["Hel", "lo"], Usage(3, 2))
        for kind in ("application/json", "text/plain", "text/event-stream", "application/octet-stream", None):
            headers = {} if kind is None else {"content-type": kind}
            events, _ = self.answered(Answer(whole.status, headers, whole.chunks))
            self.must_say(events, "Hello")

    def test_what_breaks_after_the_end_was_told_is_no_failure(self) -> None:
        whole = self.says(["Hel", "lo"], Usage(3, 2))
        events, _ = self.answered(Answer(whole.status, whole.headers, whole.chunks, httpx.ReadError("gone")))
        self.must_say(events, "Hello")
        must(
            any(isinstance(event, Finish) for event in events),
            "no Finish came, though the vendor sent its finish reason",
        )

    def test_a_tool_call_comes_with_its_name_and_its_arguments(self) -> None:
        answer = self.calls("weather", '{"city": "Oslo"}')
        must(
            answer is not None or "tools" not in self.lane().supports,
            "the lane supports tools: return a tool call in `calls`",
        )
        if answer is None:
            return
        tool = Tool("weather", "the weather in a city", {"type": "object", "properties": {"city": {"type": "string"}}})
        plain = self.request()
        events, _ = self.answered(answer, ChatRequest(plain.model, plain.messages, plain.max_tokens, tools=(tool,)))
        deltas = [event for event in events if isinstance(event, ToolCallDelta)]
        must("".join(event.name or "" for event in deltas) == "weather", f"the tool's name did not come: {deltas!r}")
        arguments = "".join(event.arguments for event in deltas).replace(" ", "")
        must(arguments == '{"city":"Oslo"}', f"the arguments are {arguments!r}")
        reasons = [event.reason for event in events if isinstance(event, Finish)]
        must(reasons == ["tool_calls"], f"the finish reason must be 'tool_calls', it is {reasons!r}")

    def test_an_id_that_an_earlier_answer_had_begins_a_call_again(self) -> None:
        lane = self.lane()
        for city in ("Oslo", "Rome"):
            answer = self.calls("weather", f'{{"city": "{city}"}}')
            if answer is None:
                return
            plain = self.request()
            request = ChatRequest(plain.model, plain.messages, plain.max_tokens, tools=(Tool("weather"),))
            events = asyncio.run(check_lane(lane, request, FakeWire(answer)))
            deltas = [event for event in events if isinstance(event, ToolCallDelta)]
            must(
                "".join(event.name or "" for event in deltas) == "weather", f"the tool's name did not come: {deltas!r}"
            )
            must(city in "".join(event.arguments for event in deltas), f"the arguments are {deltas!r}")

    def test_what_the_vendor_refuses_goes_through_as_it_is(self) -> None:
        for status in STATUSES:
            answer = json_answer({"error": {"message": f"no, {self.secret}"}}, status)
            error = self.failed(answer)
            expected = refusal(status, None, b"".join(answer.chunks))
            same = type(error) is type(expected) and getattr(error, "retry_after_s", None) == expected.retry_after_s
            must(same, f"{status}: the lane must pass on the wire's error, {expected!r}; it raised {error!r}")

    def test_a_vendor_that_does_not_answer_is_an_error(self) -> None:
        for failure in (
            httpx.ConnectError("refused"),
            httpx.ReadTimeout("late"),
            TimeoutError(),
            UpstreamTimeout("late"),
        ):
            self.failed(failure)

    def test_an_answer_that_breaks_off_is_no_answer(self) -> None:
        whole = self.says(["One, ", "two, ", "three, ", "four"], Usage(3, 8))
        data = b"".join(whole.chunks)
        broken = httpx.ReadError("the vendor hung up")
        for part in (0, len(data) // 4, len(data) // 2):
            self.failed(Answer(whole.status, whole.headers, [data[:part]], broken))

    def test_an_answer_that_just_ends_is_no_answer(self) -> None:
        whole = self.says(["One, ", "two, ", "three, ", "four"], Usage(3, 8))
        data = b"".join(whole.chunks)
        for part in (0, len(data) // 3, len(data) // 2):
            self.failed(Answer(whole.status, whole.headers, [data[:part]]))

    def test_nonsense_is_an_error_of_the_vendor(self) -> None:
        for nonsense in NONSENSE:
            for kind in ("text/event-stream", "application/json"):
                error = self.failed(Answer(200, {"content-type": kind}, [nonsense]))
                must(isinstance(error, UpstreamError), f"{nonsense!r} must be an UpstreamError, it is {error!r}")

    def test_a_client_that_leaves_leaves_nothing_open(self) -> None:
        wire = FakeWire(self.says(["One, ", "two, ", "three"], Usage(3, 6)))

        async def leave() -> None:
            events = self.lane().chat(self.request(), wire)
            async with aclosing(cast(AsyncGenerator[ChatEvent, None], events)) as open_events:
                async for event in open_events:
                    if isinstance(event, ChatDelta):
                        break

        asyncio.run(leave())
        must(wire.open == 0, "the response stays open after the client left: send inside `async with`")

    def test_what_the_vendor_has_said_comes_before_it_has_said_all(self) -> None:
        whole = self.says(["One, ", "two, ", "three, ", "four, ", "five"], Usage(3, 9))
        received: list[ChatEvent] = []

        async def read() -> None:
            half = whole.chunks[: len(whole.chunks) // 2]
            answer = Answer(whole.status, whole.headers, half, httpx.ReadError("gone"))
            async for event in self.lane().chat(self.request(), FakeWire(answer)):
                received.append(event)

        must(error_of(read) is not None, "an incomplete answer was accepted as complete")
        must(
            any(isinstance(event, ChatDelta) for event in received),
            "the lane sends nothing before the vendor has finished",
        )

    def test_a_task_that_is_cancelled_ends(self) -> None:
        wire = FakeWire(self.says(["One, ", "two, ", "three"], Usage(3, 6)))

        async def leave() -> bool:
            async def read() -> None:
                async for event in self.lane().chat(self.request(), wire):
                    if isinstance(event, ChatDelta) and not asyncio.current_task().cancelling():  # type: ignore[union-attr]
                        asyncio.current_task().cancel()  # type: ignore[union-attr]
                await asyncio.sleep(0)  # reached if the lane never awaits

            task = asyncio.ensure_future(read())
            await asyncio.wait([task])
            return task.cancelled()

        must(asyncio.run(leave()), "a cancelled call must end as cancelled: do not catch CancelledError")
        must(wire.open == 0, "the response stays open when the call is cancelled")

    def test_a_long_answer_comes_whole(self) -> None:
        pieces = [f"word{at} " for at in range(10_000)]
        events, _ = self.answered(self.says(pieces, Usage(3, 20_000)))
        self.must_say(events, "".join(pieces))
        long = "x" * 1_000_000
        events, _ = self.answered(self.says([long], Usage(3, 250_000)))
        self.must_say(events, long)

    def test_a_long_question_goes_out_whole(self) -> None:
        words = "grüße " * 200_000
        _, wire = self.answered(self.says(["ok"], Usage(3, 1)), self.request(words))
        must(bool(wire.requests) and len(wire.requests[-1].content) > 1_000_000, "the question was cut")

    def test_calls_at_the_same_time_do_not_mix(self) -> None:
        lane = self.lane()

        async def both() -> list[str]:
            async def one(words: str) -> str:
                wire = FakeWire(self.says([f"{words} ", "again"], Usage(3, 2)))
                events = await check_lane(lane, self.request(words), wire)
                return "".join(event.text for event in events if isinstance(event, ChatDelta))

            return list(await asyncio.gather(*(one(str(at)) for at in range(20))))

        must(asyncio.run(both()) == [f"{at} again" for at in range(20)], "the lane keeps state between calls")

    def test_a_wire_that_is_closed_is_not_gone_around(self) -> None:
        wire = FakeWire(self.says(["Hello"], Usage(3, 2)))
        wire.close()
        error = self.raised(wire)
        must(isinstance(error, TicketClosed), f"the lane must pass on TicketClosed, it raised {error!r}")

    def test_secrets_come_out_nowhere(self) -> None:
        lane = self.lane()
        options = [value for value in vars(lane).values() if isinstance(value, BaseModel)]
        must(self.secret not in repr((lane, options)), "the secret appears in a repr: declare it as a SecretStr")
        model = self.options
        if model is not None:
            plain = [
                name
                for name, field in model.model_fields.items()
                if SECRET_NAME.search(name) and field.annotation is str
            ]
            must(
                not plain,
                f"{', '.join(plain)} of {model.__name__} must be a SecretStr: otherwise it appears in errors and logs",
            )
