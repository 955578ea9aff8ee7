"""The contract tests detect lanes whose plain answers break the contract, and name the problem."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence

import pytest
from kaixu_openai import OpenAI, OpenAIOptions
from pydantic import SecretStr

from kaixu.plugin import (
    ChatDelta,
    ChatEvent,
    ChatRequest,
    EventBatches,
    Finish,
    Lane,
    NativeEvent,
    UpstreamBusy,
    UpstreamError,
    Usage,
    Wire,
)
from kaixu.plugin.lane import offers_plain_answers
from kaixu.plugin.testing import Answer, LaneContract, event_stream


class Good(OpenAI):
    """Keeps the contract."""

    supports = OpenAI.supports - {"tools"}

    def __init__(self, secret: str) -> None:
        super().__init__(OpenAIOptions(api_key=SecretStr(secret)))


class Contract(LaneContract):
    kind: type[Good] = Good

    def lane(self) -> Lane:
        return self.kind(self.secret)

    def says(self, pieces: Sequence[str], usage: Usage) -> Answer:
        return event_stream(
            *({"choices": [{"delta": {"content": piece}}]} for piece in pieces),
            {"choices": [{"delta": {}, "finish_reason": "stop"}]},
            {"choices": [], "usage": {"prompt_tokens": usage.input_tokens, "completion_tokens": usage.output_tokens}},
        )


class AsksForAStream(Good):
    def chat_plain(self, request: ChatRequest, wire: Wire) -> AsyncIterator[ChatEvent]:
        return self.chat(request, wire)


class TellsNoUsage(Good):
    async def chat_plain(self, request: ChatRequest, wire: Wire) -> AsyncIterator[ChatEvent]:
        async for event in super().chat_plain(request, wire):
            if not isinstance(event, Usage):
                yield event


class LosesWhatItDoesNotKnow(Good):
    async def chat_plain(self, request: ChatRequest, wire: Wire) -> AsyncIterator[ChatEvent]:
        async for event in super().chat_plain(request, wire):
            if isinstance(event, NativeEvent):
                known = ("id", "object", "created", "model", "choices", "usage")
                yield NativeEvent({name: event.data[name] for name in known if name in event.data})
            else:
                yield event


class ForgetsTheMaximum(Good):
    def chat_plain(self, request: ChatRequest, wire: Wire) -> AsyncIterator[ChatEvent]:
        body = self.body(request) | {"stream": False}
        del body["max_completion_tokens"]
        return EventBatches(self.batches(body, request, wire))


class TakesACutForTheWhole(Good):
    async def chat_plain(self, request: ChatRequest, wire: Wire) -> AsyncIterator[ChatEvent]:
        try:
            async for event in super().chat_plain(request, wire):
                yield event
        except UpstreamBusy:
            raise
        except UpstreamError:
            yield Finish("stop")


class ReadsNoStream(Good):
    async def chat_plain(self, request: ChatRequest, wire: Wire) -> AsyncIterator[ChatEvent]:
        outgoing = self.outgoing(self.chat_url, self.body(request) | {"stream": False})
        async with wire.send(outgoing) as response:
            body = json.loads(await response.aread())
        choice, usage = body["choices"][0], body["usage"]
        yield ChatDelta(choice["message"]["content"])
        yield Usage(usage["prompt_tokens"], usage["completion_tokens"])
        yield Finish(choice["finish_reason"])


class KeepsTheRequest(Good):
    """Keeps something of a call in the lane."""

    async def chat_plain(self, request: ChatRequest, wire: Wire) -> AsyncIterator[ChatEvent]:
        self.latest = request
        await asyncio.sleep(0)
        async for event in super().chat_plain(request, wire):
            yield ChatDelta(self.latest.messages[0].text) if isinstance(event, ChatDelta) else event


def wrongs(kind: type[Good]) -> list[str]:
    """The failures of the contract tests for a lane."""
    contract = Contract()
    contract.kind = kind
    said = []
    for name in dir(contract):
        if name.startswith("test_") and "plain" in name:
            try:
                getattr(contract, name)()
            except Exception as error:
                said.append(f"{type(error).__name__}: {error}")
    return said


def test_a_good_lane_passes() -> None:
    assert wrongs(Good) == []


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (AsksForAStream, "`chat_plain` asks for a stream"),
        (TellsNoUsage, "the bill would differ"),
        (LosesWhatItDoesNotKnow, "an unknown field of the vendor's answer was lost"),
        (ForgetsTheMaximum, "does not contain max_tokens"),
        (TakesACutForTheWhole, "was accepted as an answer"),
        (ReadsNoStream, "JSONDecodeError"),
        (KeepsTheRequest, "the lane keeps state between calls"),
    ],
)
def test_a_lane_that_does_not_is_caught_and_told_why(kind: type[Good], says: str) -> None:
    said = wrongs(kind)
    assert any(says in one for one in said), said


def test_a_lane_of_another_protocol_must_say_how_its_vendor_answers() -> None:
    class Other(Good):
        """Of another protocol."""

    Other.native = None  # type: ignore[assignment]
    assert any("return the vendor's answer in one piece in `says_plain`" in one for one in wrongs(Other))


def test_a_lane_that_overrides_chat_alone_is_never_asked_past_it() -> None:
    class OnlyChat(Good):
        def chat(self, request: ChatRequest, wire: Wire) -> AsyncIterator[ChatEvent]:
            return super().chat(request, wire)

    class Further(OnlyChat):
        """Inherits both."""

    class Both(OnlyChat):
        def chat_plain(self, request: ChatRequest, wire: Wire) -> AsyncIterator[ChatEvent]:
            return super().chat_plain(request, wire)

    asked = {kind.__name__: offers_plain_answers(kind("k")) for kind in (Good, OnlyChat, Further, Both)}
    assert asked == {"Good": True, "OnlyChat": False, "Further": False, "Both": True}
    assert not offers_plain_answers(Lane())
