"""Tools of the Responses API: flattened for the vendor, and calls in the client's format."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses.response_create_params import ResponseCreateParamsBase

from kaixu.api.openai.custom_tools import PARAMETERS
from kaixu.api.openai.response_tools import MAX_NAME, flat_name
from kaixu.api.openai.responses_reply import ResponseEncoder
from kaixu.api.openai.responses_request import parse_responses_request
from kaixu.plugin.errors import KaixuError, Unsupported
from kaixu.plugin.types import (
    ChatRequest,
    Message,
    TextPart,
    Tool,
    ToolCallDelta,
    ToolCallPart,
    ToolName,
    ToolResultPart,
)
from tests.api.openai.conftest import deployment, ticket

SPAWN = {
    "type": "function",
    "name": "spawn",
    "description": "Start one.",
    "strict": False,
    "parameters": {"type": "object"},
}
NAMESPACE = {"type": "namespace", "name": "agents", "description": "Helpers.", "tools": [SPAWN]}
PATCH = {"type": "custom", "name": "patch", "format": {"type": "grammar", "syntax": "lark", "definition": "start: /x/"}}
SEARCH = {"type": "tool_search", "execution": "client", "description": "Find tools.", "parameters": {"type": "object"}}
FOUND = {"type": "function", "name": "found", "parameters": {"type": "object"}, "defer_loading": True}
TOOLS = [NAMESPACE, PATCH, SEARCH, {"type": "web_search", "external_web_access": False}]


def read(**body: Any) -> ChatRequest:
    return parse_responses_request({"input": "Hi"} | body, deployment(), most_messages=100)


def test_tools_of_all_kinds_are_functions_of_one_list() -> None:
    parsed = read(tools=TOOLS, tool_choice={"type": "function", "namespace": "agents", "name": "spawn"})
    spawn, patch, search = parsed.tools
    assert spawn == Tool("agents__spawn", "Start one.", {"type": "object"}, False)
    assert (patch.name, patch.parameters) == ("patch", PARAMETERS)
    assert "start: /x/" in (patch.description or "")
    assert search == Tool("tool_search", "Find tools.", {"type": "object"})
    assert parsed.tool_choice == ToolName("agents__spawn")
    assert parsed.dropped == ("tools[].web_search",)


def test_tool_results_are_translated() -> None:
    conversation = [
        {"role": "user", "content": "Hi"},
        {"type": "function_call", "call_id": "c1", "namespace": "agents", "name": "spawn", "arguments": "{}"},
        {
            "type": "custom_tool_call",
            "call_id": "c2",
            "name": "patch",
            "input": "x",
            "id": "ctc",
            "status": "completed",
        },
        {"type": "tool_search_call", "call_id": "c3", "execution": "client", "arguments": {"query": "q"}},
        {"type": "web_search_call", "id": "ws", "status": "completed", "action": {"type": "search", "query": "q"}},
        {"type": "function_call_output", "call_id": "c1", "output": "one"},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "two"}]},
        {"type": "tool_search_output", "call_id": "c3", "execution": "client", "status": "completed", "tools": [FOUND]},
        {"type": "item_reference", "id": "ctc"},
        {"type": "item_reference", "id": "rs_gone"},
    ]
    parsed = read(input=conversation, tools=TOOLS)
    called = (
        ToolCallPart("c1", "agents__spawn", "{}"),
        ToolCallPart("c2", "patch", '{"input":"x"}'),
        ToolCallPart("c3", "tool_search", '{"query":"q"}'),
    )
    assert parsed.messages[1:] == (
        Message("assistant", called),
        Message("tool", (ToolResultPart("c1", (TextPart("one"),)),)),
        Message("tool", (ToolResultPart("c2", (TextPart("two"),)),)),
        Message("tool", (ToolResultPart("c3", (TextPart("These tools can be called now: found."),)),)),
    )
    assert [tool.name for tool in parsed.tools] == ["agents__spawn", "patch", "tool_search", "found"]
    assert parsed.dropped == ("tools[].web_search", "input[].web_search_call", "input[].item_reference")


def test_calls_come_back_in_the_clients_own_form() -> None:
    encoder = ResponseEncoder({"tools": TOOLS}, "m")
    frames = encoder.begin(ticket())
    for event in (
        ToolCallDelta(0, "c1", "agents__spawn", '{"a"'),
        ToolCallDelta(1, "c2", "patch", '{"inp'),
        ToolCallDelta(0, arguments=":1}"),
        ToolCallDelta(1, arguments='ut":"x"}'),
        ToolCallDelta(2, "c3", "tool_search", '{"query":"q"}'),
        ToolCallDelta(3, "c4", "another", "{}"),
    ):
        frames += encoder.event(event)
    frames += encoder.done(ticket("tool_calls"))
    whole = encoder.complete_response(ticket("tool_calls"))
    shown = [{name: value for name, value in item.items() if name != "id"} for item in whole["output"]]
    done = {"status": "completed"}
    assert shown == [
        {"type": "function_call", "call_id": "c1", "name": "spawn", "namespace": "agents", "arguments": '{"a":1}'}
        | done,
        {"type": "custom_tool_call", "call_id": "c2", "name": "patch", "input": "x"} | done,
        {"type": "tool_search_call", "call_id": "c3", "execution": "client", "arguments": {"query": "q"}} | done,
        {"type": "function_call", "call_id": "c4", "name": "another", "arguments": "{}"} | done,
    ]
    told = [msgspec.json.decode(line[6:]) for line in frames.split(b"\n") if line.startswith(b"data: ")]
    assert [event["item"] for event in told if event["type"] == "response.output_item.done"] == whole["output"]
    assert [event["delta"] for event in told if event["type"] == "response.custom_tool_call_input.delta"] == ["x"]


def test_a_flat_name_is_valid_for_every_vendor_and_stable() -> None:
    assert flat_name("mcp__files__", "read") == "mcp__files__read"
    assert flat_name("a.b", "c d") == "a_b__c_d"
    long = flat_name("n" * 80, "f")
    assert (len(long), long) == (MAX_NAME, flat_name("n" * 80, "f"))
    assert long != flat_name("n" * 80, "g")


FOR_NOTHING: list[dict[str, Any]] = [
    {"store": True},
    {"truncation": "auto"},
    {"client_metadata": {"session": "s"}},
    {"include": ["reasoning.encrypted_content", "web_search_call.action.sources"]},
    {"parallel_tool_calls": True, "tool_choice": "auto"},
    {"service_tier": "auto", "background": False, "top_logprobs": 0},
]


@pytest.mark.parametrize("body", FOR_NOTHING, ids=lambda body: ", ".join(body))
def test_what_asks_for_nothing_has_no_effect(body: dict[str, Any]) -> None:
    assert read(**body) == read()


@pytest.mark.parametrize("field", ["brand_new", "context_management", "max_tool_calls"])
def test_dropped_fields_are_reported(field: str) -> None:
    assert read(**{field: [{"type": "x"}]}).dropped == (field,)


def test_a_refusal_names_what_it_refuses_and_says_what_helps() -> None:
    with pytest.raises(Unsupported) as refused:
        read(input=[{"type": "item_reference", "id": "msg_1"}])
    assert "store: false" in (refused.value.hint or "")
    with pytest.raises(Unsupported, match="hologram") as refused:
        read(input=[{"type": "hologram"}])
    assert "Remove this item" in (refused.value.hint or "")


def test_verbosity_is_passed_on_to_lanes_that_support_it() -> None:
    assert read(text={"verbosity": "low"}).verbosity == "low"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from(["function", "custom", "namespace"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "name", "tools", "id", "role", "content", "output", "call_id"]), inner, max_size=4
        )
    ),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(sorted(ResponseCreateParamsBase.__annotations__)), JSON, max_size=5))
def test_invalid_requests_are_client_errors(body: dict[str, Any]) -> None:
    try:
        parse_responses_request(body, deployment(), most_messages=100)
        ResponseEncoder(body, "m")
    except KaixuError as error:
        assert error.status < 500  # noqa: PT017
