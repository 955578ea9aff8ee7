"""Betas of the anthropic lane: allowed ones, the fields of forbidden ones, and cache points."""

from __future__ import annotations

import json
from typing import Any

import pytest
from kaixu_anthropic import Anthropic, AnthropicOptions
from kaixu_anthropic_betas import ALLOWED

from kaixu.plugin import ChatRequest, ImagePart, Message, Native, TextPart, Tool, ToolCallPart, ToolResultPart
from kaixu.plugin.testing import FakeWire, event_stream

HELLO = Message("user", (TextPart("Hello"),))
TURNS: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello"}]}
MANAGED: dict[str, Any] = TURNS | {"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}}
MANAGING, LONG = "context-management-2025-06-27", "context-1m-2025-08-07"
SEARCHING: dict[str, Any] = TURNS | {"tools": [{"name": "t", "input_schema": {}, "defer_loading": True}]}
DONE = event_stream(
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}, {"type": "message_stop"}, done=False
)
POINT = {"cache_control": {"type": "ephemeral"}}


def lane(**options: Any) -> Anthropic:
    return Anthropic(AnthropicOptions.model_validate({"api_key": "sk-test", **options}))


async def sent(opened: Anthropic, request: ChatRequest) -> tuple[str | None, dict[str, Any]]:
    """The header and the body of the request to the vendor."""
    wire = FakeWire(DONE)
    opened.check(request)
    async for _ in opened.chat(request, wire):
        pass
    [outgoing] = wire.requests
    return outgoing.headers.get("anthropic-beta"), json.loads(outgoing.content)


@pytest.mark.parametrize(
    ("options", "betas", "header", "left_out"),
    [
        ({}, (MANAGING,), MANAGING, ()),
        ({}, (MANAGING, LONG), MANAGING, (f"anthropic-beta.{LONG}",)),
        ({"allow_betas": []}, (MANAGING,), None, (f"anthropic-beta.{MANAGING}", "context_management")),
        ({"allow_betas": [], "beta": [MANAGING]}, (MANAGING,), MANAGING, ()),
        ({"allow_betas": [LONG]}, (LONG,), LONG, ()),
        ({"beta": [LONG]}, (), LONG, ()),
        ({"extra_headers": {"anthropic-beta": LONG}}, (MANAGING,), f"{LONG},{MANAGING}", ()),
    ],
    ids=["allowed", "one of two", "none allowed", "the operator's own", "more allowed", "unasked", "in a header"],
)
async def test_a_beta_and_its_fields_go_out_together_or_not_at_all(
    options: dict[str, Any], betas: tuple[str, ...], header: str | None, left_out: tuple[str, ...]
) -> None:
    opened, native = lane(**options), Native("anthropic.messages", MANAGED, betas)
    assert opened.admitted(native)[1] == left_out
    sent_header, body = await sent(opened, ChatRequest("m", (HELLO,), 9, native=native))
    assert sent_header == header
    assert ("context_management" in body) == ("context_management" not in left_out)
    assert "context_management" in MANAGED


async def test_a_field_stays_where_another_beta_switches_it_on_too() -> None:
    betas = ("advanced-tool-use-2025-11-20", "tool-search-tool-2025-10-19")
    native = Native("anthropic.messages", SEARCHING, betas)
    assert lane(allow_betas=[betas[0]]).admitted(native)[0].body == SEARCHING
    without, left_out = lane(allow_betas=[]).admitted(native)
    assert without.body["tools"] == [{"name": "t", "input_schema": {}}]
    assert "tools[].defer_loading" in left_out


async def test_what_claude_code_asks_for_is_allowed_and_what_costs_more_is_not() -> None:
    requested = (
        "claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27,effort-2025-11-24,"
        "mid-conversation-tool-changes-2026-07-01,thinking-token-count-2026-05-13,advanced-tool-use-2025-11-20"
    )
    assert set(requested.split(",")) <= set(ALLOWED)
    dearer = ("context-1m", "fast-mode", "mcp-client", "code-execution", "files-api", "web-search", "skills", "compact")
    assert not [beta for beta in ALLOWED if beta.startswith(dearer)]


CALL, RESULT = ToolCallPart("c", "t", "{}", cache="5m"), ToolResultPart("c", (TextPart("r", "5m"),))
TOOLS = (Tool("t", cache="5m"),)


async def test_cache_points_are_sent_to_the_vendor() -> None:
    turns = (
        Message("system", (TextPart("s"), TextPart("t", "5m"))),
        Message("user", (TextPart("a", "5m"), ImagePart("https://x.test/a"))),
        Message("assistant", (ToolCallPart("c", "t", "{}"),)),
        Message("tool", (RESULT,)),
    )
    _, body = await sent(lane(), ChatRequest("m", turns, 9, tools=TOOLS))
    assert body["system"] == [{"type": "text", "text": "s"}, {"type": "text", "text": "t"} | POINT]
    assert body["tools"] == [{"name": "t", "input_schema": {"type": "object"}} | POINT]
    assert body["messages"][0]["content"][0] == {"type": "text", "text": "a"} | POINT
    result = {"type": "tool_result", "tool_use_id": "c", "content": [{"type": "text", "text": "r"}]}
    assert body["messages"][2]["content"] == [result | POINT]


async def test_of_many_points_the_last_four_are_kept_and_an_hour_only_where_it_has_a_price() -> None:
    many = Message("user", tuple(TextPart(str(at), "1h") for at in range(6)))
    for options, point in (({}, POINT), ({"hour_cache": True}, {"cache_control": {"type": "ephemeral", "ttl": "1h"}})):
        _, body = await sent(lane(**options), ChatRequest("m", (many,), 9))
        content = body["messages"][0]["content"]
        assert [block.get("cache_control") for block in content] == [None, None, *[point["cache_control"]] * 4]
