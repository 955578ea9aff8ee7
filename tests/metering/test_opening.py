from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from kaixu.metering.opening import MOST_BUFFERED, wait_for_output
from kaixu.metering.preamble import with_preamble
from kaixu.plugin import (
    ChatDelta,
    ChatEvent,
    ChatRequest,
    Finish,
    Message,
    Native,
    NativeEvent,
    TextPart,
    UpstreamError,
    Usage,
)

HELLO = Message("user", (TextPart("Hello"),))


async def stream_of(*events: ChatEvent | Exception) -> AsyncIterator[ChatEvent]:
    for event in events:
        if isinstance(event, Exception):
            raise event
        yield event


async def test_what_a_client_would_not_miss_is_held_back_until_the_first_word() -> None:
    prelude = NativeEvent({"type": "message_start"})
    begun = await wait_for_output(stream_of(prelude, Usage(3), ChatDelta("one"), ChatDelta("two")))
    assert begun.buffered == [prelude, Usage(3), ChatDelta("one")]
    assert [event async for event in begun.events] == [ChatDelta("two")]


async def test_an_answer_without_a_word_is_one_and_too_long_a_prelude_is_not_waited_for() -> None:
    assert (await wait_for_output(stream_of(Usage(3), Finish("stop")))).buffered == [Usage(3), Finish("stop")]
    assert len((await wait_for_output(stream_of(*[Usage(3)] * 100, ChatDelta("late")))).buffered) == MOST_BUFFERED


@pytest.mark.parametrize("events", [(), (Usage(3),), (NativeEvent({"code": 30001}), Usage(3))])
async def test_an_answer_without_output_and_finish_reason_is_an_error(events: tuple[ChatEvent, ...]) -> None:
    with pytest.raises(UpstreamError, match="empty answer"):
        await wait_for_output(stream_of(*events))


async def test_what_fails_before_the_first_word_leaves_nothing_behind() -> None:
    stream: Any = stream_of(Usage(3), ValueError("cut"))
    with pytest.raises(ValueError, match="cut"):
        await wait_for_output(stream)
    assert [event async for event in stream] == []


@pytest.mark.parametrize("system", [None, "Be kind.", [{"type": "text", "text": "Be kind."}]])
def test_the_preamble_comes_first_in_every_protocol(system: Any) -> None:
    body = {"messages": [{"role": "user", "content": "Hello"}]} | ({} if system is None else {"system": system})
    request = ChatRequest("m", (HELLO,), 5, native=Native("anthropic.messages", body))
    made = with_preamble(request, "Be brief.")
    assert made.messages == (Message("system", (TextPart("Be brief."),)), HELLO)
    assert made.native is not None
    rest = [] if system is None else [{"type": "text", "text": "Be kind."}]
    assert made.native.body["system"] == [{"type": "text", "text": "Be brief."}, *rest]
    plain = with_preamble(ChatRequest("m", (HELLO,), 5, native=Native("openai.chat", body)), "Be brief.")
    assert plain.native is not None
    assert plain.native.body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert with_preamble(request, None) is request
    assert body["messages"] == [{"role": "user", "content": "Hello"}], "the original body is not changed"
