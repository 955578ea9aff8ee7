"""What the contract tests of chat lanes stand on: the author's definitions, and tools that run one call."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import ClassVar

import httpx

from kaixu.plugin.errors import KaixuError
from kaixu.plugin.lane import Lane
from kaixu.plugin.options import Options
from kaixu.plugin.types import ChatDelta, ChatEvent, ChatRequest, Message, TextPart, Usage

from .checks import check_lane, must
from .failures import CapturedLog, error_of
from .wire import Answer, FakeWire, Reply, json_answer


class LaneCase:
    """What the contract tests of a chat lane need: how to create the lane, how its vendor answers, and tools.

    `secret` is in its options and must not appear anywhere.
    """

    secret: ClassVar[str] = "sk-secret-of-the-operator"  # noqa: S105 - not a real secret
    model: ClassVar[str] = "vendor-model"
    #: Whether the vendor reports usage.
    reports_usage: ClassVar[bool] = True
    #: Its options model: a test checks that secrets are declared as such.
    options: ClassVar[type[Options] | None] = None

    def lane(self) -> Lane:
        """A new lane, as kaixu.yaml would open it, with `secret` in its options."""
        raise NotImplementedError("create your lane here")

    def says(self, pieces: Sequence[str], usage: Usage) -> Answer:
        """The vendor's complete answer: the text `pieces` in order, then `usage`, ended by the model."""
        raise NotImplementedError("return the answer of your vendor here")

    def calls(self, name: str, arguments: str) -> Answer | None:
        """The vendor's answer with a tool call; None if it has no tools."""
        return None

    def says_plain(self, text: str, usage: Usage) -> Answer | None:
        """The vendor's answer in one piece, for lanes with `chat_plain`: the `text`, then `usage`, ended by the model.

        Defined for lanes of OpenAI's and Anthropic's protocols; others return their vendor's.
        """
        return plain_answer(self.lane().native, text, usage)

    def request(self, words: str = "Hello") -> ChatRequest:
        """A simple request."""
        return ChatRequest(model=self.model, messages=(Message("user", (TextPart(words),)),), max_tokens=64)

    # Tools

    def answered(
        self, answer: Reply, request: ChatRequest | None = None, *, plain: bool = False
    ) -> tuple[list[ChatEvent], FakeWire]:
        """The events of one call, checked against the contract. `plain`: of `chat_plain`."""
        wire = FakeWire(answer)
        with CapturedLog() as log:
            events = asyncio.run(check_lane(self.lane(), request or self.request(), wire, plain=plain))
        must(not any(self.secret in line for line in log.lines), "the secret is logged")
        return events, wire

    def failed(self, answer: Reply, *, plain: bool = False) -> BaseException:
        """The error of a call that gets `answer`; it must raise one, without the secret."""
        wire = FakeWire(answer)
        with CapturedLog() as log:
            error = self.raised(wire, plain=plain)
        must(error is not None, f"{answer!r} was accepted as an answer")
        assert error is not None
        must(isinstance(error, KaixuError | httpx.HTTPError), f"{answer!r} raised {error!r}: a bug in the lane")
        must(wire.open == 0, "the response stays open after an error: send inside `async with`")
        for text in (str(error), repr(error), getattr(error, "hint", None) or "", *log.lines):
            must(self.secret not in text, f"the secret appears in {text!r}")
        return error

    def raised(self, wire: FakeWire, *, plain: bool = False) -> BaseException | None:
        """The error of a call on this wire."""

        async def ask() -> None:
            lane = self.lane()
            async for _ in (lane.chat_plain if plain else lane.chat)(self.request(), wire):
                pass

        return error_of(ask)

    def must_say(self, events: Sequence[ChatEvent], text: str) -> None:
        """The events must contain this text."""
        received = "".join(event.text for event in events if isinstance(event, ChatDelta))
        must(received == text, f"the text is {received[:200]!r}, not {text[:200]!r}")

    def must_ask(self, wire: FakeWire) -> None:
        """The request must contain the model and `max_tokens`."""
        must(len(wire.requests) > 0, "nothing was sent")
        sent = wire.requests[-1]
        whole = str(sent.url).encode() + sent.content
        must(self.model.encode() in whole, f"the request does not contain the model {self.model!r}")
        must(
            b"64" in sent.content,
            "the request does not contain max_tokens: the answer might cost more than was reserved",
        )


def plain_answer(native: str | None, text: str, usage: Usage) -> Answer | None:
    """An answer in one piece in a protocol that the core knows; None for others."""
    if native == "openai.chat":
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        figures = {"prompt_tokens": usage.input_tokens, "completion_tokens": usage.output_tokens}
        return json_answer({"id": "c", "object": "chat.completion", "choices": [choice], "usage": figures})
    if native == "anthropic.messages":
        head = {"id": "m", "type": "message", "role": "assistant", "content": [{"type": "text", "text": text}]}
        figures = {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}
        return json_answer(head | {"stop_reason": "end_turn", "usage": figures})
    return None
