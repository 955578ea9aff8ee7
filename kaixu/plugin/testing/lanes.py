"""The contract suite of lanes: subclass `LaneContract`, say how your vendor answers, and run pytest."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import ClassVar, cast

import httpx
from pydantic import BaseModel

from kaixu.plugin.errors import KaixuError, TicketClosed, UpstreamError, UpstreamTimeout
from kaixu.plugin.lane import Lane, Options
from kaixu.plugin.refusals import refusal
from kaixu.plugin.types import (
    ChatDelta,
    ChatEvent,
    ChatRequest,
    Finish,
    Message,
    TextPart,
    Tool,
    ToolCallDelta,
    Usage,
)

from .checks import check_lane, must
from .failures import STATUSES, Overheard, caught
from .wire import Answer, FakeWire, Reply, json_answer

#: Answers that are none: each must end as an error, never as an answer.
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

#: Fields that hold secrets, by what people call them.
SECRET_NAME = re.compile(r"key|secret|token|password|credential", re.IGNORECASE)

UNICODE = "grüße, 世界 and 👩‍🚀 to all"


class LaneContract:
    """What every chat lane keeps. An author says how to make the lane and how the vendor would answer.

    `secret` stands in its options; it must come out nowhere.
    """

    secret: ClassVar[str] = "sk-secret-of-the-operator"  # noqa: S105 - that it is not one is the point
    model: ClassVar[str] = "vendor-model"
    #: Whether the vendor tells the tokens it used.
    reports_usage: ClassVar[bool] = True
    #: Its options model, for a look at how secrets are declared.
    options: ClassVar[type[Options] | None] = None

    def lane(self) -> Lane:
        """A new lane, as kaixu.yaml would open it; its options hold `secret`."""
        raise NotImplementedError("say how your lane is made")

    def says(self, pieces: Sequence[str], usage: Usage) -> Answer:
        """The vendor's whole answer that says `pieces`, one after the other, has used `usage`, and stops by itself."""
        raise NotImplementedError("say how your vendor answers")

    def calls(self, name: str, arguments: str) -> Answer | None:
        """The vendor's answer that calls a tool; None where it cannot."""
        return None

    def request(self, words: str = "Hello") -> ChatRequest:
        """A plain question."""
        return ChatRequest(model=self.model, messages=(Message("user", (TextPart(words),)),), max_tokens=64)

    # What is tested

    def test_an_answer_comes_whole_with_its_usage_and_its_end(self) -> None:
        events, wire = self.answered(self.says(["Hel", "lo"], Usage(3, 2)))
        self.must_say(events, "Hello")
        must(any(isinstance(event, Finish) and event.reason == "stop" for event in events), "no Finish('stop') came")
        if self.reports_usage:
            told = [event for event in events if isinstance(event, Usage)]
            must(bool(told), "no Usage came, though the vendor told it")
            figures = told[-1].input_tokens, told[-1].output_tokens
            must(figures == (3, 2), f"the last Usage says {figures}, the vendor said (3, 2)")
            told_end = wire.has_finished or not wire.requests
            must(told_end, "call `wire.finished()` when the vendor has said why it stopped")
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
        heart = [b": alive\n\n", b"data:\n\n", b"data: \n\n", b"\n"]
        ways = {
            "no blank after `data:`": [chunk.replace(b"data: ", b"data:") for chunk in whole.chunks],
            "CRLF": [chunk.replace(b"\n", b"\r\n") for chunk in whole.chunks],
            "empty events between": [piece for chunk in whole.chunks for piece in (*heart, chunk)],
        }
        for way, chunks in ways.items():
            events, _ = self.answered(Answer(whole.status, whole.headers, chunks))
            self.must_say(events, "Hello")
            must(any(isinstance(event, Finish) for event in events), f"no Finish came of a stream with {way}")

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
        must(any(isinstance(event, Finish) for event in events), "no Finish came, though the vendor told its end")

    def test_a_tool_call_comes_with_its_name_and_its_arguments(self) -> None:
        answer = self.calls("weather", '{"city": "Oslo"}')
        must(answer is not None or "tools" not in self.lane().supports, "the lane supports tools: say how they come")
        if answer is None:
            return
        tool = Tool("weather", "the weather in a city", {"type": "object", "properties": {"city": {"type": "string"}}})
        asked = self.request()
        events, _ = self.answered(answer, ChatRequest(asked.model, asked.messages, asked.max_tokens, tools=(tool,)))
        made = [event for event in events if isinstance(event, ToolCallDelta)]
        must("".join(event.name or "" for event in made) == "weather", f"the tool's name did not come: {made!r}")
        said = "".join(event.arguments for event in made).replace(" ", "")
        must(said == '{"city":"Oslo"}', f"the arguments came as {said!r}")
        ends = [event.reason for event in events if isinstance(event, Finish)]
        must(ends == ["tool_calls"], f"the end must be 'tool_calls', it is {ends!r}")

    def test_an_id_that_an_earlier_answer_had_begins_a_call_again(self) -> None:
        lane = self.lane()
        for city in ("Oslo", "Rome"):
            answer = self.calls("weather", f'{{"city": "{city}"}}')
            if answer is None:
                return
            asked = self.request()
            request = ChatRequest(asked.model, asked.messages, asked.max_tokens, tools=(Tool("weather"),))
            events = asyncio.run(check_lane(lane, request, FakeWire(answer)))
            made = [event for event in events if isinstance(event, ToolCallDelta)]
            must("".join(event.name or "" for event in made) == "weather", f"the tool's name did not come: {made!r}")
            must(city in "".join(event.arguments for event in made), f"the arguments came as {made!r}")

    def test_what_the_vendor_refuses_goes_through_as_it_is(self) -> None:
        for status in STATUSES:
            said = json_answer({"error": {"message": f"no, {self.secret}"}}, status)
            error = self.failed(said)
            wanted = refusal(status, None, b"".join(said.chunks))
            same = type(error) is type(wanted) and getattr(error, "retry_after_s", None) == wanted.retry_after_s
            must(same, f"{status} must come out as the wire raised it, {wanted!r}; it is {error!r}")

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
        must(wire.open == 0, "the response stays open when the reader leaves: send inside `async with`")

    def test_what_the_vendor_has_said_comes_before_it_has_said_all(self) -> None:
        whole = self.says(["One, ", "two, ", "three, ", "four, ", "five"], Usage(3, 9))
        told: list[ChatEvent] = []

        async def read() -> None:
            half = whole.chunks[: len(whole.chunks) // 2]
            answer = Answer(whole.status, whole.headers, half, httpx.ReadError("gone"))
            async for event in self.lane().chat(self.request(), FakeWire(answer)):
                told.append(event)

        must(caught(read) is not None, "an answer that broke off was taken for a whole one")
        must(any(isinstance(event, ChatDelta) for event in told), "nothing comes before the vendor has said all")

    def test_a_task_that_is_cancelled_ends(self) -> None:
        wire = FakeWire(self.says(["One, ", "two, ", "three"], Usage(3, 6)))

        async def leave() -> bool:
            async def read() -> None:
                async for event in self.lane().chat(self.request(), wire):
                    if isinstance(event, ChatDelta) and not asyncio.current_task().cancelling():  # type: ignore[union-attr]
                        asyncio.current_task().cancel()  # type: ignore[union-attr]
                await asyncio.sleep(0)  # where the lane never waits, it comes here

            task = asyncio.ensure_future(read())
            await asyncio.wait([task])
            return task.cancelled()

        must(asyncio.run(leave()), "a cancelled call must end as cancelled: let CancelledError through")
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

        must(asyncio.run(both()) == [f"{at} again" for at in range(20)], "the lane keeps something between calls")

    def test_a_wire_that_is_closed_is_not_gone_around(self) -> None:
        wire = FakeWire(self.says(["Hello"], Usage(3, 2)))
        wire.close()
        error = self.raised(wire)
        must(isinstance(error, TicketClosed), f"a closed wire must come out as it is, it is {error!r}")

    def test_secrets_come_out_nowhere(self) -> None:
        lane = self.lane()
        options = [value for value in vars(lane).values() if isinstance(value, BaseModel)]
        must(self.secret not in repr((lane, options)), "the secret shows in a repr: declare it as a SecretStr")
        model = self.options
        if model is not None:
            plain = [
                name
                for name, field in model.model_fields.items()
                if SECRET_NAME.search(name) and field.annotation is str
            ]
            must(
                not plain,
                f"{', '.join(plain)} of {model.__name__} must be a SecretStr: it would show in errors and logs",
            )

    # How

    def answered(self, answer: Reply, request: ChatRequest | None = None) -> tuple[list[ChatEvent], FakeWire]:
        """The events of one call, after the contract was checked on them."""
        wire = FakeWire(answer)
        with Overheard() as heard:
            events = asyncio.run(check_lane(self.lane(), request or self.request(), wire))
        must(not any(self.secret in line for line in heard.lines), "the secret is logged")
        return events, wire

    def failed(self, answer: Reply) -> BaseException:
        """What a call raises that gets `answer`, which it must, without telling the secret."""
        wire = FakeWire(answer)
        with Overheard() as heard:
            error = self.raised(wire)
        must(error is not None, f"{answer!r} was taken for an answer")
        assert error is not None
        must(isinstance(error, KaixuError | httpx.HTTPError), f"{answer!r} came out as {error!r}, a bug of the lane's")
        must(wire.open == 0, "the response stays open after an error: send inside `async with`")
        for text in (str(error), repr(error), getattr(error, "hint", None) or "", *heard.lines):
            must(self.secret not in text, f"the secret comes out in {text!r}")
        return error

    def raised(self, wire: FakeWire) -> BaseException | None:
        """What a call raises on this wire."""

        async def ask() -> None:
            async for _ in self.lane().chat(self.request(), wire):
                pass

        return caught(ask)

    def must_say(self, events: Sequence[ChatEvent], text: str) -> None:
        """Whether the text came."""
        said = "".join(event.text for event in events if isinstance(event, ChatDelta))
        must(said == text, f"the text came as {said[:200]!r}, not as {text[:200]!r}")

    def must_ask(self, wire: FakeWire) -> None:
        """Whether the vendor was told the model and the bound that money was reserved for."""
        must(len(wire.requests) > 0, "nothing was sent")
        sent = wire.requests[-1]
        whole = str(sent.url).encode() + sent.content
        must(self.model.encode() in whole, f"the vendor was not told the model {self.model!r}")
        must(b"64" in sent.content, "the vendor was not told max_tokens: it might answer more than is paid for")
