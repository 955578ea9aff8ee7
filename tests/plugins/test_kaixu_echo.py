"""The echo lane answers with the last message, one word for each token."""

from __future__ import annotations

import pytest
from kaixu_echo import Echo, EchoOptions

from kaixu.plugin import ChatDelta, ChatEvent, ChatRequest, Finish, Message, TextPart, Usage
from kaixu.plugin.testing import FakeWire, check_lane


async def answer(*texts: str, most: int = 100) -> list[ChatEvent]:
    messages = tuple(Message("user", (TextPart(text),)) for text in texts)
    wire = FakeWire()
    events = await check_lane(Echo(EchoOptions()), ChatRequest("echo", messages, most), wire)
    assert wire.requests == []
    return events


async def test_it_returns_the_last_message_word_by_word() -> None:
    assert await answer("Hello  there") == [
        ChatDelta("Hello  "),
        Usage(2, 1),
        ChatDelta("there"),
        Usage(2, 2),
        Finish("stop"),
    ]


async def test_it_counts_the_whole_conversation_as_input() -> None:
    events = await answer("one two three", "four")
    assert [event for event in events if isinstance(event, Usage)] == [Usage(4, 1)]


async def test_it_stops_at_max_tokens() -> None:
    events = await answer("one two three", most=2)
    assert "".join(event.text for event in events if isinstance(event, ChatDelta)) == "one two "
    assert events[-1] == Finish("length")


async def test_an_empty_message_has_an_empty_answer() -> None:
    assert await answer("  ") == [Finish("stop")]


def test_a_delay_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="delay_ms"):
        EchoOptions.model_validate({"delay_ms": "fast"})
