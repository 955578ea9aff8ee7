"""Whole messages, from a native lane's events and from translated ones."""

from __future__ import annotations

from typing import Any

import anthropic.types
import pytest

from kaixu.api.anthropic.reply import merge_events, message_reply, usage_figures
from kaixu.plugin.types import ChatDelta, ChatEvent, Finish, NativeEvent, ReasoningDelta, ToolCallDelta, Usage
from tests.api.anthropic.conftest import BILL, NUMBER, USAGE, ticket

HEAD = {"id": f"msg_{NUMBER.hex}", "type": "message", "role": "assistant", "model": "up/m"}


def test_a_message_of_the_contract_s_events() -> None:
    events: list[ChatEvent] = [
        ReasoningDelta("h"),
        ReasoningDelta("m", "tok"),
        ChatDelta("Let me "),
        ChatDelta("see"),
        ToolCallDelta(0, "t1", "now", '{"zone"'),
        ToolCallDelta(0, arguments=': "utc"}'),
        ToolCallDelta(1, "t2", "then"),
        Usage(10, 4),
        Finish("tool_calls"),
    ]
    made = message_reply(ticket("tool_calls"), events, "up/m")
    assert made == HEAD | {
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "tok"},
            {"type": "text", "text": "Let me see"},
            {"type": "tool_use", "id": "t1", "name": "now", "input": {"zone": "utc"}},
            {"type": "tool_use", "id": "t2", "name": "then", "input": {}},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": USAGE,
        "kaixu": BILL,
    }
    anthropic.types.Message.model_validate(made)


def test_what_a_vendor_leaves_null_and_clients_need_is_ours() -> None:
    start = {"type": "message_start", "message": {"id": None, "type": "message", "role": None, "x": None}}
    made = message_reply(ticket("stop"), [NativeEvent(start)], "up/m")
    assert (made["id"], made["role"], made["x"]) == (HEAD["id"], "assistant", None)


ENDS: dict[str, tuple[dict[str, Any], list[ChatEvent], tuple[str, str | None]]] = {
    "its turn": ({"finish": "stop"}, [], ("end_turn", None)),
    "a stop sequence": ({"finish": "stop", "stop_sequence": "END"}, [], ("stop_sequence", "END")),
    "its length": ({"finish": "length"}, [], ("max_tokens", None)),
    "a filter": ({"finish": "content_filter"}, [], ("refusal", None)),
    "a call, not called so": ({"finish": "stop"}, [ToolCallDelta(0, "t", "n", "{}")], ("tool_use", None)),
    "a call that was cut": ({"finish": "length"}, [ToolCallDelta(0, "t", "n", "{")], ("max_tokens", None)),
    "a word of the vendor's own": ({"finish": "eos"}, [], ("eos", None)),
    "no word": ({"finish": None}, [], ("end_turn", None)),
    "the budget": ({"finish": None, "end_reason": "budget_cut"}, [ChatDelta("Hi")], ("max_tokens", None)),
}


@pytest.mark.parametrize(("settled", "events", "end"), ENDS.values(), ids=ENDS)
def test_why_a_message_ended(settled: dict[str, Any], events: list[ChatEvent], end: tuple[str, str | None]) -> None:
    made = message_reply(ticket(**settled), events, "up/m")
    assert (made["stop_reason"], made["stop_sequence"]) == end


@pytest.mark.parametrize("arguments", ["{", "[1]", '{"a": 1} 2'], ids=["cut", "a list", "more than an object"])
def test_arguments_that_are_not_an_object_are_wrapped(arguments: str) -> None:
    made = message_reply(ticket(), [ToolCallDelta(0, "t", "n", arguments)], "up/m")
    assert made["content"][0]["input"] == {"INVALID_JSON": arguments}


START: dict[str, Any] = {
    "type": "message_start",
    "message": {
        "id": "msg_theirs",
        "type": "message",
        "role": "assistant",
        "model": "claude-x",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "brand_new": 1,
        "usage": {"input_tokens": 5, "output_tokens": 1, "cache_creation": {"ephemeral_5m_input_tokens": 2}},
    },
}
END: dict[str, Any] = {
    "type": "message_delta",
    "delta": {"stop_reason": "stop_sequence", "stop_sequence": "END", "stop_details": None},
    "usage": {"output_tokens": 4, "server_tool_use": None, "newer": 9},
    "context_management": {"applied_edits": []},
}


def block(index: int, begin: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": begin},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def test_a_message_of_the_vendor_s_events_keeps_what_is_new() -> None:
    vendor_events = [
        START,
        {"type": "ping"},
        *block(
            0,
            {"type": "thinking", "thinking": "", "signature": ""},
            {"type": "thinking_delta", "thinking": "h", "estimated_tokens": 1},
            {"type": "thinking_delta", "thinking": "m", "estimated_tokens": 2},
            {"type": "signature_delta", "signature": "tok"},
        ),
        *block(1, {"type": "redacted_thinking", "data": "d"}),
        *block(
            2,
            {"type": "text", "text": ""},
            {"type": "text_delta", "text": "Let me "},
            {"type": "text_delta", "text": "see"},
            {"type": "citations_delta", "citation": {"a": 1}},
            {"type": "citations_delta", "citation": {"a": 2}},
        ),
        *block(
            3,
            {"type": "tool_use", "id": "t", "name": "n", "input": {}, "caller": {"type": "direct"}},
            {"type": "input_json_delta", "partial_json": '{"a"'},
            {"type": "input_json_delta", "partial_json": ": 1}"},
        ),
        *block(4, {"type": "tool_use", "id": "u", "name": "n", "input": {"whole": True}}),
        *block(5, {"type": "compaction", "content": None}, {"type": "compaction_delta", "content": "short"}),
        *block(6, {"type": "novel", "x": 1}, {"type": "novel_delta", "x": 2, "y": 3}),
        END,
        {"type": "message_stop"},
    ]
    events: list[ChatEvent] = [NativeEvent(event) for event in vendor_events]
    events.insert(2, ChatDelta("the same, in the contract's words"))
    assert message_reply(ticket(), events, "up/m") == {
        "id": "msg_theirs",
        "type": "message",
        "role": "assistant",
        "model": "up/m",
        "brand_new": 1,
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "tok", "estimated_tokens": 2},
            {"type": "redacted_thinking", "data": "d"},
            {"type": "text", "text": "Let me see", "citations": [{"a": 1}, {"a": 2}]},
            {"type": "tool_use", "id": "t", "name": "n", "input": {"a": 1}, "caller": {"type": "direct"}},
            {"type": "tool_use", "id": "u", "name": "n", "input": {"whole": True}},
            {"type": "compaction", "content": "short"},
            {"type": "novel", "x": 2, "y": 3},
        ],
        "stop_reason": "stop_sequence",
        "stop_sequence": "END",
        "stop_details": None,
        "context_management": {"applied_edits": []},
        "usage": {"cache_creation": {"ephemeral_5m_input_tokens": 2}, "newer": 9} | USAGE,
        "kaixu": BILL,
    }
    assert START["message"]["usage"]["output_tokens"] == 1, "the vendor's events are not changed"


def test_a_vendor_s_message_that_the_budget_ended_has_an_end() -> None:
    vendor_events = [START, *block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Hi"})[:-1]]
    made = message_reply(ticket(None, end_reason="budget_cut"), [NativeEvent(event) for event in vendor_events], "up/m")
    assert made["content"] == [{"type": "text", "text": "Hi"}]
    assert (made["stop_reason"], made["usage"]["output_tokens"]) == ("max_tokens", 4)


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"type": "message_start"},
        {"type": "content_block_start", "index": [], "content_block": 3},
        {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": 3}},
        {"type": "message_delta", "delta": None, "usage": None},
        {"type": "message_delta", "delta": {"usage": None, "content": 3}},
    ],
    ids=["no type", "no message", "no index", "no text", "no delta", "another delta"],
)
def test_a_vendor_s_nonsense_does_no_harm(event: dict[str, Any]) -> None:
    assert message_reply(ticket(), [NativeEvent(event)], "up/m")["stop_reason"] == "end_turn"


def test_input_is_counted_without_what_the_cache_had_to_do_with() -> None:
    assert usage_figures(Usage(10, 4, 3, 2)) == {
        "input_tokens": 5,
        "cache_creation_input_tokens": 2,
        "cache_read_input_tokens": 3,
        "output_tokens": 4,
    }
    assert usage_figures(Usage(1, 0, 3))["input_tokens"] == 0


def test_no_events_are_an_empty_message() -> None:
    assert merge_events([]) == {"usage": {}, "content": []}
