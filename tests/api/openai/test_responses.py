"""The Responses API: items to messages, events to items, and what is refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kaixu.api.openai.responses_reply import ResponseEncoder
from kaixu.api.openai.responses_request import parse_responses_request
from kaixu.plugin.errors import Invalid, Unsupported
from kaixu.plugin.types import (
    ChatDelta,
    ChatEvent,
    ImagePart,
    Message,
    Reasoning,
    ReasoningDelta,
    ReasoningPart,
    ResponseFormat,
    TextPart,
    Tool,
    ToolCallDelta,
    ToolCallPart,
    ToolName,
    ToolResultPart,
)
from tests.api.openai.conftest import deployment, ticket


def read(**body: Any) -> Any:
    return parse_responses_request(body, deployment(), most_messages=100)


CONVERSATION = [
    {"role": "user", "content": [{"type": "input_text", "text": "Hi"}, {"type": "input_image", "image_url": "data:image/png;base64,AA=="}]},
    {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "tok"},
    {"type": "message", "role": "assistant", "id": "m", "status": "completed", "content": [{"type": "output_text", "text": "Let me see", "annotations": []}]},
    {"type": "function_call", "call_id": "c1", "name": "now", "arguments": "{}", "id": "fc", "status": "completed"},
    {"type": "function_call_output", "call_id": "c1", "output": "noon"},
]  # fmt: skip


def test_items_become_messages_and_what_the_assistant_says_in_a_row_is_one() -> None:
    assert read(input=CONVERSATION, instructions="Be kind.").messages == (
        Message("system", (TextPart("Be kind."),)),
        Message("user", (TextPart("Hi"), ImagePart("data:image/png;base64,AA=="))),
        Message("assistant", (ReasoningPart("hm", "tok"), TextPart("Let me see"), ToolCallPart("c1", "now", "{}"))),
        Message("tool", (ToolResultPart("c1", (TextPart("noon"),)),)),
    )


def test_fields_are_translated() -> None:
    schema = {"type": "object"}
    parsed = read(
        input="Hi",
        max_output_tokens=7,
        temperature=1,
        top_p=0.5,
        tools=[{"type": "function", "name": "now", "parameters": schema, "strict": True}],
        tool_choice={"type": "function", "name": "now"},
        parallel_tool_calls=False,
        text={"format": {"type": "json_schema", "name": "n", "schema": schema, "strict": True}},
        reasoning={"effort": "low", "summary": "auto"},
        user="ada",
        store=False,
        metadata={"a": "b"},
        include=["reasoning.encrypted_content"],
    )
    assert (parsed.max_tokens, parsed.temperature, parsed.top_p, parsed.user) == (7, 1.0, 0.5, "ada")
    assert parsed.tools == (Tool("now", None, schema, True),)
    assert parsed.tool_choice == ToolName("now")
    assert parsed.parallel_tool_calls is False
    assert parsed.response_format == ResponseFormat(schema, "n", None, True)
    assert parsed.reasoning == Reasoning("low")
    assert read(input="Hi").max_tokens == deployment().default_output_tokens


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("previous_response_id", {"previous_response_id": "resp_1"}),
        ("conversation", {"conversation": "c"}),
        ("background", {"background": True}),
        ("tool_choice", {"tools": [{"type": "web_search"}], "tool_choice": {"type": "web_search"}}),
        (
            "tool_choice",
            {"tools": [{"type": "mcp", "server_label": "s"}], "tool_choice": {"type": "mcp", "server_label": "s"}},
        ),
        ("tool_choice", {"tools": [{"type": "code_interpreter"}], "tool_choice": "required"}),
        ("service_tier", {"service_tier": "priority"}),
        ("include", {"include": ["message.output_text.logprobs"]}),
        ("input[0].id", {"input": [{"type": "item_reference", "id": "msg_1"}]}),
        ("input[0].id", {"input": [{"id": "msg_1"}]}),
        ("input[0].type", {"input": [{"type": "compaction", "encrypted_content": "x"}]}),
        (
            "input[0].content[0].type",
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]},
        ),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(field: str, body: dict[str, Any]) -> None:
    with pytest.raises(Unsupported) as refused:
        read(**({"input": "Hi"} | body))
    assert refused.value.field == field


@pytest.mark.parametrize("given", [None, "", [], [{"role": "system", "content": "x"}]], ids=repr)
def test_an_input_is_needed(given: Any) -> None:
    with pytest.raises(Invalid) as refused:
        read(input=given)
    assert refused.value.field == "input"


def told(*events: ChatEvent, finish: str = "stop") -> tuple[list[str], dict[str, Any]]:
    """The names of the stream's events, and the last one's response."""
    encoder = ResponseEncoder({}, "m")
    settled = ticket(finish)
    frames = encoder.begin(settled) + b"".join(map(encoder.event, events)) + encoder.done(settled)
    names, last = [], {}
    for number, one in enumerate(frames.decode().strip().split("\n\n")):
        name, data = one.split("\n")
        last = msgspec.json.decode(data.removeprefix("data: "))
        assert last["sequence_number"] == number
        assert last["type"] == name.removeprefix("event: ")
        names.append(last["type"].removeprefix("response."))
    return names, last["response"]


def test_text_is_a_message() -> None:
    names, response = told(ChatDelta("Hel"), ChatDelta("lo"))
    assert names == [
        "created", "in_progress", "output_item.added", "content_part.added", "output_text.delta", "output_text.delta",
        "output_text.done", "content_part.done", "output_item.done", "completed",
    ]  # fmt: skip
    [item] = response["output"]
    assert (item["type"], item["status"], item["content"][0]["text"]) == ("message", "completed", "Hello")
    assert response["usage"]["total_tokens"] == 7


def test_reasoning_text_and_calls_are_items_of_their_own() -> None:
    _, response = told(
        ReasoningDelta("hm"),
        ReasoningDelta("", opaque="tok"),
        ChatDelta("a"),
        ToolCallDelta(0, "c1", "now", ""),
        ToolCallDelta(0, None, None, "{}"),
        ToolCallDelta(1, "c2", "then", '{"a":1}'),
        finish="tool_calls",
    )
    assert [item["type"] for item in response["output"]] == ["reasoning", "message", "function_call", "function_call"]
    assert response["output"][0]["encrypted_content"] == "tok"
    assert [(item["call_id"], item["name"], item["arguments"]) for item in response["output"][2:]] == [
        ("c1", "now", "{}"),
        ("c2", "then", '{"a":1}'),
    ]


def test_an_answer_that_was_cut_is_incomplete() -> None:
    names, response = told(ChatDelta("a"), finish="length")
    assert names[-1] == "incomplete"
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}
    assert response["output"][0]["status"] == "incomplete"


def test_an_answer_without_words_is_whole_too() -> None:
    names, response = told()
    assert (names, response["output"]) == (["created", "in_progress", "completed"], [])
