"""What goes through a lane and comes in at the door of the same protocol is what it was: nothing is lost on the way."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import zip_longest
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kaixu_anthropic import Anthropic, AnthropicOptions
from kaixu_gemini import Gemini, GeminiOptions
from kaixu_openai import OpenAI, OpenAIOptions

from kaixu.api.request_defaults import remove_defaults
from kaixu.plugin.errors import UpstreamError
from kaixu.plugin.lane import Lane
from kaixu.plugin.testing import Answer, FakeWire, json_answer
from kaixu.plugin.types import (
    ChatDelta,
    ChatEvent,
    ChatRequest,
    Message,
    Part,
    ReasoningDelta,
    ReasoningPart,
    TextPart,
    ToolCallDelta,
    ToolCallPart,
)
from tests.support.size import examples

from .canonical import anthropic_requests, calls, google_requests, names, objects, openai_requests, texts, tokens, words
from .google import as_google
from .replies import DOORS, as_anthropic, as_openai

OPENAI = OpenAI(OpenAIOptions.model_validate({"api_key": "k"}))
GEMINI = Gemini(GeminiOptions.model_validate({"api_key": "k"}))
ANTHROPIC = Anthropic(AnthropicOptions.model_validate({"api_key": "k"}))
MANY = settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])


def sent(lane: Lane, request: ChatRequest) -> dict[str, Any]:
    """What a lane sends to its vendor."""
    wire = FakeWire(Answer(500))

    async def ask() -> None:
        async for _ in lane.chat(request, wire):
            pass

    with suppress(UpstreamError):
        asyncio.run(ask())
    body: dict[str, Any] = msgspec.json.decode(wire.requests[0].content)
    return body


@given(openai_requests.map(remove_defaults))
@MANY
def test_openai_s_requests_come_back_as_they_were(request: ChatRequest) -> None:
    assert as_openai(sent(OPENAI, request)) == request


@given(anthropic_requests().map(remove_defaults))
@MANY
def test_anthropic_s_requests_come_back_as_they_were(request: ChatRequest) -> None:
    assert as_anthropic(sent(ANTHROPIC, request)) == request


@given(google_requests)
@MANY
def test_google_s_requests_say_all_that_was_asked(request: ChatRequest) -> None:
    assert as_google(request.model, sent(GEMINI, request)) == request


@given(anthropic_requests(shared=True).map(remove_defaults))
@MANY
def test_what_both_can_say_survives_the_way_through_the_other(request: ChatRequest) -> None:
    through_openai = as_openai(sent(OPENAI, request))
    assert as_anthropic(sent(ANTHROPIC, through_openai)) == request
    assert as_openai(sent(OPENAI, as_anthropic(sent(ANTHROPIC, through_openai)))) == through_openai


# What the assistant said, given back by the client with its next turn.


def told(parts: tuple[Part, ...], *, mixed: bool = False) -> list[ChatEvent]:
    """Parts as a lane tells them, every text in two pieces. `mixed`: the pieces of several calls come by turns."""
    events: list[ChatEvent] = []
    pieces: list[list[ToolCallDelta]] = []
    for part in parts:
        match part:
            case TextPart(text):
                events += [ChatDelta(piece) for piece in halves(text)]
            case ReasoningPart(text, opaque):
                events += [ReasoningDelta(piece) for piece in halves(text)]
                events += [ReasoningDelta("", opaque)] if opaque is not None else []
            case ToolCallPart(id, name, arguments, opaque):
                index = len(pieces)
                begin = ToolCallDelta(index, id, name, opaque=opaque)
                pieces.append([begin, *(ToolCallDelta(index, arguments=piece) for piece in halves(arguments))])
    if mixed:
        return events + [piece for turn in zip_longest(*pieces) for piece in turn if piece is not None]
    return events + [piece for call in pieces for piece in call]


def halves(text: str) -> list[str]:
    """A text in two pieces, none empty."""
    middle = len(text) // 2
    return [piece for piece in (text[:middle], text[middle:]) if piece]


def given_back(door: str, parts: tuple[Part, ...], *, mixed: bool = False) -> tuple[Part, ...]:
    """The assistant's turn, given back."""
    return DOORS[door](told(parts, mixed=mixed)).messages[1].parts


@st.composite
def answers(draw: st.DrawFn) -> tuple[Part, ...]:
    """A text, calls, or both."""
    asked = draw(calls(names, any_text=False)) if draw(st.booleans()) else ()
    said = draw(st.lists(words.map(TextPart), min_size=0 if asked else 1, max_size=1))
    return (*said, *asked)


@given(thoughts=st.lists(st.builds(ReasoningPart, texts, st.none() | tokens), max_size=1), parts=answers())
@MANY
@pytest.mark.parametrize("door", DOORS)
def test_an_answer_that_is_given_back_is_what_it_was(
    door: str, thoughts: list[ReasoningPart], parts: tuple[Part, ...]
) -> None:
    assert given_back(door, (*thoughts, *parts)) == (*thoughts, *parts)


@given(calls(names, any_text=False))
@MANY
@pytest.mark.parametrize("door", DOORS)
def test_calls_whose_pieces_come_by_turns_are_given_back_whole(door: str, asked: tuple[ToolCallPart, ...]) -> None:
    assert given_back(door, asked, mixed=True) == asked


@given(calls(names, any_text=False), tokens)
@MANY
@pytest.mark.parametrize("door", DOORS)
def test_a_call_s_token_is_given_back(door: str, asked: tuple[ToolCallPart, ...], token: str) -> None:
    signed = (msgspec.structs.replace(asked[0], opaque=token), *asked[1:])
    assert given_back(door, signed) == signed


@given(st.lists(st.builds(ReasoningPart, st.just("") | texts, tokens), min_size=2, max_size=3))
@MANY
@pytest.mark.parametrize("door", DOORS)
def test_thoughts_in_a_row_are_given_back_each_with_its_own_token(door: str, thoughts: list[ReasoningPart]) -> None:
    assert given_back(door, (*thoughts, TextPart("Rome."))) == (*thoughts, TextPart("Rome."))


# What a vendor answered, given back to it through a door that speaks another protocol.


def heard(lane: Lane, answer: dict[str, Any]) -> list[ChatEvent]:
    """How a lane tells its vendor's answer."""
    wire, asked = FakeWire(json_answer(answer)), Message("user", (TextPart("hello"),))

    async def listen() -> list[ChatEvent]:
        return [event async for event in lane.chat(ChatRequest("upstream", (asked,), 9), wire)]

    return asyncio.run(listen())


@st.composite
def claude_s_blocks(draw: st.DrawFn) -> list[dict[str, Any]]:
    """An answer of Claude's that thought, in any of the ways it does."""
    shown = st.fixed_dictionaries({"type": st.just("thinking"), "thinking": texts, "signature": tokens})
    unshown = st.fixed_dictionaries({"type": st.just("thinking"), "thinking": st.just(""), "signature": tokens})
    redacted = st.fixed_dictionaries({"type": st.just("redacted_thinking"), "data": tokens})
    blocks = draw(st.lists(shown | unshown | redacted, max_size=3))
    blocks += [{"type": "text", "text": text} for text in draw(st.lists(words, min_size=1, max_size=1))]
    ids = draw(st.lists(names, max_size=3, unique=True))
    return blocks + [{"type": "tool_use", "id": id, "name": draw(names), "input": draw(objects)} for id in ids]


@given(claude_s_blocks())
@MANY
@pytest.mark.parametrize("door", ["chat", "chat, streamed"])
def test_claude_s_own_blocks_go_back_to_it_through_another_door(door: str, blocks: list[dict[str, Any]]) -> None:
    usage = {"input_tokens": 1, "output_tokens": 1}
    events = heard(ANTHROPIC, {"type": "message", "content": blocks, "stop_reason": "end_turn", "usage": usage})
    again = sent(ANTHROPIC, DOORS[door](events))
    assert again["messages"][1] == {"role": "assistant", "content": blocks}


@st.composite
def gemini_s_parts(draw: st.DrawFn) -> list[dict[str, Any]]:
    """An answer of Gemini's with calls, of which it signs the first."""
    said = [{"text": text} for text in draw(st.lists(words, max_size=1))]
    ids = draw(st.lists(names, min_size=1, max_size=3, unique=True))
    asked: list[dict[str, Any]] = [
        {"functionCall": {"id": id, "name": draw(names), "args": draw(objects)}} for id in ids
    ]
    asked[0]["thoughtSignature"] = draw(tokens)
    return said + asked


@given(gemini_s_parts())
@MANY
@pytest.mark.parametrize("door", DOORS)
def test_gemini_s_own_parts_go_back_to_it_through_another_door(door: str, parts: list[dict[str, Any]]) -> None:
    candidate = {"content": {"role": "model", "parts": parts}, "finishReason": "STOP"}
    again = sent(GEMINI, DOORS[door](heard(GEMINI, {"candidates": [candidate]})))
    assert again["contents"][1] == {"role": "model", "parts": parts}
