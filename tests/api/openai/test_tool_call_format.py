"""Tool calls in the format of the Chat Completions client, whole and in chunks."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kaixu.api.openai.chat_reply import ChatStreamEncoder, completion, merge_chunks
from kaixu.api.openai.tool_call_format import ToolCallFormat
from kaixu.plugin.types import ChatDelta, ChatEvent, Finish, ToolCallDelta
from tests.api.openai.conftest import ticket

PATCH = {"type": "custom", "custom": {"name": "patch"}}
NOW = {"type": "function", "function": {"name": "now"}}
EVENTS: list[ChatEvent] = [
    ChatDelta("Let me see."),
    ToolCallDelta(0, "c1", "patch", '{"inp'),
    ToolCallDelta(1, "c2", "now", "{"),
    ToolCallDelta(0, arguments='ut":"a b"}'),
    ToolCallDelta(1, arguments="}"),
    Finish("tool_calls"),
]
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "custom tools": (
        {"tools": [PATCH, NOW]},
        {
            "tool_calls": [
                {"id": "c2", "type": "function", "function": {"name": "now", "arguments": "{}"}},
                {"id": "c1", "type": "custom", "custom": {"name": "patch", "input": "a b"}},
            ]
        },
        "tool_calls",
    ),
    "the older form": (
        {"functions": [{"name": "patch"}]},
        {"function_call": {"name": "patch", "arguments": '{"input":"a b"}'}},
        "function_call",
    ),
}


@pytest.mark.parametrize(("body", "said", "reason"), CASES.values(), ids=CASES)
def test_a_call_has_the_clients_format(body: dict[str, Any], said: dict[str, Any], reason: str) -> None:
    [choice] = completion(ticket("tool_calls"), EVENTS, "ours", ToolCallFormat(body))["choices"]
    assert choice["message"] == {"role": "assistant", "content": "Let me see."} | said
    assert choice["finish_reason"] == reason
    encoder = ChatStreamEncoder("ours", native=False, include_usage=False, format=ToolCallFormat(body))
    frames = encoder.begin(ticket()) + b"".join(encoder.event(event) for event in EVENTS) + encoder.done(ticket())
    lines = [line[6:] for line in frames.split(b"\n") if line.startswith(b"data: {")]
    assert merge_chunks([msgspec.json.decode(line) for line in lines])["choices"] == [choice]
