"""Events as Anthropic's content blocks, which open and close one at a time."""

from __future__ import annotations

from typing import Any

import pytest

from kaixu.api.anthropic.content_blocks import ContentBlockEncoder
from kaixu.plugin.types import ChatDelta, ChatEvent, Finish, ReasoningDelta, ToolCallDelta, Usage


def encoded(*events: ChatEvent) -> list[dict[str, Any]]:
    blocks = ContentBlockEncoder("n")
    return [vendor_events for event in events for vendor_events in blocks.encode(event)] + blocks.end()


def start(index: int, **block: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def piece(index: int, kind: str, **fields: str) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **fields}}


def stop(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def text(index: int, *pieces: str) -> list[dict[str, Any]]:
    deltas = [piece(index, "text_delta", text=one) for one in pieces]
    return [start(index, type="text", text=""), *deltas, stop(index)]


def thought(index: int, *pieces: str, token: str | None = None) -> list[dict[str, Any]]:
    deltas = [piece(index, "thinking_delta", thinking=one) for one in pieces]
    if token is not None:
        deltas.append(piece(index, "signature_delta", signature=token))
    return [start(index, type="thinking", thinking="", signature=""), *deltas, stop(index)]


def hidden(index: int, token: str) -> list[dict[str, Any]]:
    return [start(index, type="redacted_thinking", data=token), stop(index)]


def call(index: int, id: str, name: str, *pieces: str, **more: Any) -> list[dict[str, Any]]:
    deltas = [piece(index, "input_json_delta", partial_json=one) for one in pieces]
    return [start(index, type="tool_use", id=id, name=name, input={}, **more), *deltas, stop(index)]


A, B = ToolCallDelta(0, "a", "now", '{"x": '), ToolCallDelta(1, "b", "then", '{"y": ')

STORIES: dict[str, tuple[list[ChatEvent], list[dict[str, Any]]]] = {
    "nothing": ([Usage(1, 2), Finish("stop"), ChatDelta("")], []),
    "text": ([ChatDelta("Hel"), Usage(1, 2), ChatDelta("lo"), Finish("stop")], text(0, "Hel", "lo")),
    "a thought and an answer": (
        [ReasoningDelta("h"), ReasoningDelta("m"), ReasoningDelta("", "tok"), ChatDelta("Hi")],
        thought(0, "h", "m", token="tok") + text(1, "Hi"),
    ),
    "a thought that came with its token": ([ReasoningDelta("hm", "tok")], thought(0, "hm", token="tok")),
    "two thoughts": (
        [ReasoningDelta("a", "t1"), ReasoningDelta("b", "t2"), ReasoningDelta("", "t3")],
        thought(0, "a", token="t1") + thought(1, "b", token="t2") + hidden(2, "t3"),
    ),
    "hidden thoughts": (
        [ReasoningDelta("", "t1"), ReasoningDelta("", "t2"), ChatDelta("Hi")],
        hidden(0, "t1") + hidden(1, "t2") + text(2, "Hi"),
    ),
    "text, calls, text": (
        [ChatDelta("Let me"), A, ToolCallDelta(0, arguments="1}"), B, ToolCallDelta(1, arguments="2}"), ChatDelta("!")],
        text(0, "Let me") + call(1, "a", "now", '{"x": ', "1}") + call(2, "b", "then", '{"y": ', "2}") + text(3, "!"),
    ),
    "calls by turns": (
        [A, B, ToolCallDelta(0, arguments="{}"), ToolCallDelta(1, arguments="2"), ToolCallDelta(0, arguments="}"),
         ToolCallDelta(1, arguments="}")],
        call(0, "a", "now", '{"x": ', "{}", "}") + call(1, "b", "then", '{"y": ', "2", "}"),
    ),
    "calls that never become whole": (
        [A, B, ChatDelta("Hi")],
        call(0, "a", "now", '{"x": ') + call(1, "b", "then", '{"y": ') + text(2, "Hi"),
    ),
    "a call that needs nothing before another": (
        [ToolCallDelta(0, "a", "now"), ToolCallDelta(1, "b", "then", "{}")],
        call(0, "a", "now") + call(1, "b", "then", "{}"),
    ),
    "a call with blanks after it": (
        [ToolCallDelta(0, "a", "now", "{}"), ChatDelta("Hi"), ToolCallDelta(0, arguments=" ")],
        call(0, "a", "now", "{}") + text(1, "Hi"),
    ),
    "a call without an id": ([ToolCallDelta(3, None, "now", "{}")], call(0, "toolu_n_3", "now", "{}")),
    "a call with a token": (
        [ToolCallDelta(0, "a", "now", "{}", "tok")],
        call(0, "a", "now", "{}", extra_content={"google": {"thought_signature": "tok"}}),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("events", "expected"), STORIES.values(), ids=STORIES)
def test_events_become_blocks(events: list[ChatEvent], expected: list[dict[str, Any]]) -> None:
    assert encoded(*events) == expected


def test_a_tool_call_is_streamed() -> None:
    blocks = ContentBlockEncoder("n")
    assert blocks.encode(A) == call(0, "a", "now", '{"x": ')[:-1]
    assert blocks.encode(ToolCallDelta(0, arguments="1")) == [piece(0, "input_json_delta", partial_json="1")]
