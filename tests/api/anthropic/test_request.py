"""Anthropic's request: the translation of fields and blocks, and what is refused."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaixu.api.anthropic.request import feature_fields, parse_message_request
from kaixu.api.anthropic.request_messages import SIDES
from kaixu.metering.counting import texts_of
from kaixu.plugin.errors import Invalid, KaixuError, Unprocessable, Unsupported
from kaixu.plugin.lane import Lane
from kaixu.plugin.protocols import family_of
from kaixu.plugin.types import (
    ChatRequest,
    ImagePart,
    Message,
    Native,
    Part,
    Reasoning,
    ReasoningPart,
    ResponseFormat,
    TextPart,
    Tool,
    ToolCallPart,
    ToolName,
    ToolResultPart,
)
from tests.api.anthropic import conftest
from tests.api.anthropic.conftest import Plain, Thinking, deployment

HI: list[Any] = [{"role": "user", "content": "Hi"}]
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "string"}}}
NOW: dict[str, Any] = {"name": "now", "description": "the time", "input_schema": SCHEMA}


def read(lane: type[Lane] = Plain, **fields: Any) -> ChatRequest:
    body = {"model": "m", "max_tokens": 7, "messages": HI} | fields
    return parse_message_request(body, deployment(lane), most_messages=100)


def turn(*blocks: Any, role: str = "user") -> dict[str, Any]:
    return {"role": role, "content": list(blocks)}


PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}
TEXT = {"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}
BLOCKS: dict[str, tuple[dict[str, Any], tuple[Part, ...]]] = {
    "text as text": ({"role": "user", "content": "Hi"}, (TextPart("Hi"),)),
    "text in a block": (turn(TEXT), (TextPart("Hi"),)),
    "nothing": (turn(), (TextPart(""),)),
    "an image": (turn(PICTURE), (ImagePart("data:image/png;base64,AA=="),)),
    "an image by its url": (
        turn({"type": "image", "source": {"type": "url", "url": "https://x/y.png"}}),
        (ImagePart("https://x/y.png"),),
    ),
    "a document that is text": (
        turn(
            {
                "type": "document",
                "source": {"type": "text", "media_type": "text/plain", "data": "Once"},
                "title": "A tale",
                "context": "old",
                "citations": {"enabled": False},
            }
        ),
        (TextPart("A tale\nold\n"), TextPart("Once")),
    ),
    "a document of blocks": (
        turn({"type": "document", "source": {"type": "content", "content": [TEXT, PICTURE]}}),
        (TextPart("Hi"), ImagePart("data:image/png;base64,AA==")),
    ),
    "a tool's answer, and a word to it": (
        turn({"type": "tool_result", "tool_use_id": "t1", "content": "noon"}, TEXT),
        (ToolResultPart("t1", (TextPart("noon"),)), TextPart("Hi")),
    ),
    "a tool's failure, with an image": (
        turn({"type": "tool_result", "tool_use_id": "t1", "content": [TEXT, PICTURE], "is_error": True}),
        (ToolResultPart("t1", (TextPart("Hi"), ImagePart("data:image/png;base64,AA==")), True),),
    ),
    "a tool that said nothing": (
        turn({"type": "tool_result", "tool_use_id": "t1"}),
        (ToolResultPart("t1", ()),),
    ),
}
SAID: dict[str, tuple[dict[str, Any], Part]] = {
    "a cited text": ({"type": "text", "text": "Hi", "citations": [{"cited_text": "x"}]}, TextPart("Hi")),
    "a call": (
        {"type": "tool_use", "id": "t1", "name": "now", "input": {"a": "é"}, "caller": {"type": "direct"}},
        ToolCallPart("t1", "now", '{"a":"é"}'),
    ),
    "a call without input": ({"type": "tool_use", "id": "t1", "name": "now"}, ToolCallPart("t1", "now", "{}")),
    "a call with another vendor's token": (
        {
            "type": "tool_use",
            "id": "t1",
            "name": "now",
            "input": {},
            "extra_content": {"google": {"thought_signature": "tok"}},
        },
        ToolCallPart("t1", "now", "{}", "tok"),
    ),
    "a thought": ({"type": "thinking", "thinking": "hm", "signature": "tok"}, ReasoningPart("hm", "tok")),
    "a thought without a token": ({"type": "thinking", "thinking": "hm", "signature": ""}, ReasoningPart("hm")),
    "a thought that is not shown": (
        {"type": "thinking", "thinking": "", "signature": "tok"},
        ReasoningPart("", "tok"),
    ),
    "a hidden thought": ({"type": "redacted_thinking", "data": "tok"}, ReasoningPart("", "tok")),
}


@pytest.mark.parametrize(("sent", "parts"), BLOCKS.values(), ids=BLOCKS)
def test_what_the_user_says(sent: dict[str, Any], parts: tuple[Part, ...]) -> None:
    assert read(messages=[sent]).messages == (Message("user", parts),)


@pytest.mark.parametrize(("block", "part"), SAID.values(), ids=SAID)
def test_blocks_of_the_assistant(block: dict[str, Any], part: Part) -> None:
    messages = read(messages=[*HI, turn(block, role="assistant"), *HI]).messages
    assert messages[1] == Message("assistant", (part,))


def test_the_system_prompt_is_the_first_message_and_later_ones_stay_where_they_are() -> None:
    hi = Message("user", (TextPart("Hi"),))
    assert read(system="Be kind.").messages == (Message("system", (TextPart("Be kind."),)), hi)
    blocks = [TEXT, {"type": "text", "text": "!"}]
    assert read(system=blocks).messages == (Message("system", (TextPart("Hi"), TextPart("!"))), hi)
    later = {"role": "system", "content": "Be brief."}
    assert read(system="", messages=[*HI, later, *HI]).messages == (hi, Message("system", (TextPart("Be brief."),)), hi)


def test_empty_assistant_messages_are_dropped() -> None:
    hi = Message("user", (TextPart("Hi"),))
    assert read(messages=[*HI, turn(role="assistant"), *HI]).messages == (hi, hi)


def test_fields_are_translated() -> None:
    parsed = read(
        Thinking,
        temperature=1,
        top_p=0.5,
        top_k=4,
        stop_sequences=["END"],
        tools=[NOW | {"strict": True, "cache_control": {"type": "ephemeral"}, "type": "custom"}],
        tool_choice={"type": "any", "disable_parallel_tool_use": True},
        thinking={"type": "enabled", "budget_tokens": 2048, "display": "summarized"},
        output_config={"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}},
        metadata={"user_id": "u"},
        service_tier="standard_only",
        stream=True,
    )
    assert parsed == ChatRequest(
        "upstream",
        (Message("user", (TextPart("Hi"),)),),
        7,
        temperature=1,
        top_p=0.5,
        top_k=4,
        stop=("END",),
        tools=(Tool("now", "the time", SCHEMA, True),),
        tool_choice="required",
        parallel_tool_calls=False,
        response_format=ResponseFormat(SCHEMA, strict=True),
        reasoning=Reasoning("low", 2048),
        user="u",
    )


@pytest.mark.parametrize(
    ("sent", "choice"),
    [
        ({"type": "auto"}, None),
        ({"type": "none"}, "none"),
        ({"type": "any", "disable_parallel_tool_use": False}, "required"),
        ({"type": "tool", "name": "now"}, ToolName("now")),
    ],
    ids=["auto", "none", "any", "tool"],
)
def test_tool_choices(sent: dict[str, Any], choice: Any) -> None:
    parsed = read(tools=[NOW], tool_choice=sent)
    assert (parsed.tool_choice, parsed.parallel_tool_calls) == (choice, None)


@pytest.mark.parametrize(
    ("lane", "fields", "reasoning"),
    [
        (Thinking, {"thinking": {"type": "disabled"}}, Reasoning("none")),
        (Thinking, {"thinking": {"type": "disabled"}, "output_config": {"effort": "high"}}, Reasoning("none")),
        (Plain, {"thinking": {"type": "disabled"}}, None),
        (Plain, {"thinking": {"type": "disabled"}, "output_config": {"effort": "high"}}, Reasoning("high")),
        (Plain, {"thinking": {"type": "adaptive"}}, None),
        (Plain, {"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}}, Reasoning("max")),
        (Plain, {"thinking": {"type": "enabled", "budget_tokens": 9}}, Reasoning(budget_tokens=9)),
    ],
    ids=["disabled", "disabled with an effort", "disabled where it is", "an effort where it cannot be", "adaptive",
         "adaptive with an effort", "a budget"],
)  # fmt: skip
def test_reasoning(lane: type[Lane], fields: dict[str, Any], reasoning: Reasoning | None) -> None:
    assert read(lane, **fields).reasoning == reasoning


def test_a_format_has_an_older_place_too() -> None:
    parsed = read(output_format={"type": "json_schema", "schema": SCHEMA})
    assert parsed.response_format == ResponseFormat(SCHEMA, strict=True)


def test_max_tokens_are_at_most_what_the_model_can() -> None:
    assert read(max_tokens=1_000_000).max_tokens == 8192


@pytest.mark.parametrize(
    "fields",
    [
        {"cache_control": {"type": "ephemeral", "ttl": "1h"}},
        {"metadata": {"user_id": None, "session": "s"}},
        {"service_tier": "auto"},
        {"speed": "standard"},
        {"inference_geo": "global"},
        {"mcp_servers": []},
        {"context_management": {"edits": []}},
        {"diagnostics": {"previous_message_id": None}},
        {"brand_new": None},
        {"top_k": 0},
        {
            "tools": [
                NOW | {"defer_loading": False, "allowed_callers": ["direct"], "eager_input_streaming": True,
                       "input_examples": []}
            ]
        },
    ],
    ids=lambda fields: next(iter(fields)),
)  # fmt: skip
def test_what_asks_for_nothing_has_no_effect(fields: dict[str, Any]) -> None:
    plain = read(tools=[NOW]) if "tools" in fields else read()
    assert read(**fields) == plain


BEYOND: dict[str, dict[str, Any]] = {
    "container": {"container": "c"},
    "mcp_servers": {"mcp_servers": [{"type": "url"}]},
    "service_tier": {"service_tier": "priority"},
    "speed": {"speed": "fast"},
    "inference_geo": {"inference_geo": "us"},
    "tools[0].type": {"tools": [{"type": "bash_20250124", "name": "bash"}]},
    "tools[0].allowed_callers": {"tools": [NOW | {"allowed_callers": ["code_execution_20250825"]}]},
    "tool_choice": {
        "tools": [{"type": "web_search_20250305", "name": "web_search"}, NOW],
        "tool_choice": {"type": "tool", "name": "web_search"},
    },
    "thinking.type": {"thinking": {"type": "between_tools"}},
    "output_config.task_budget": {"output_config": {"task_budget": {"type": "tokens", "total": 1}}},
    "messages[0].content[0].type": {"messages": [turn({"type": "novel", "source": "s", "title": "t"})]},
    "messages[0].content[0].source.type": {
        "messages": [turn({"type": "document", "source": {"type": "base64", "data": "AA=="}})]
    },
    "messages[0].content[1].source.type": {
        "messages": [turn(TEXT, {"type": "image", "source": {"type": "file", "file_id": "f"}})]
    },
    "messages[0].content[0].citations.enabled": {
        "messages": [
            turn({"type": "document", "source": {"type": "text", "data": "x"}, "citations": {"enabled": True}})
        ]
    },
    "messages[1].content[0].caller": {
        "messages": [
            *HI,
            turn({"type": "tool_use", "id": "t", "name": "n", "caller": {"type": "code"}}, role="assistant"),
            *HI,
        ]
    },
    "messages[1]": {"messages": [*HI, {"role": "assistant", "content": "The answer is ("}]},
}


@pytest.mark.parametrize(("field", "fields"), BEYOND.items(), ids=BEYOND)
def test_what_other_vendors_lack_is_refused_by_name(field: str, fields: dict[str, Any]) -> None:
    with pytest.raises(Unsupported) as raised:
        read(**fields)
    assert raised.value.field == field


def test_unknown_fields_are_dropped_and_reported_or_refused_by_the_lane() -> None:
    odd: dict[str, Any] = {
        "brand_new": 1,
        "messages": [turn(TEXT | {"brand_new": 1})],
        "tools": [NOW | {"brand_new": 1}],
    }
    names = ("messages[].content[].brand_new", "tools[].brand_new", "brand_new")
    assert read(**odd).dropped == names
    strict = msgspec.structs.replace(deployment(), unknown_fields="refuse")
    for field in odd:
        body = {"model": "m", "max_tokens": 7, "messages": HI, field: odd[field]}
        with pytest.raises(Unsupported):
            parse_message_request(body, strict, most_messages=100)


KEEP: dict[str, Any] = {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}


def test_context_management_that_removes_something_is_dropped_and_reported() -> None:
    assert read(context_management=KEEP) == read()
    clears = {"edits": [*KEEP["edits"], {"type": "clear_tool_uses_20250919"}]}
    assert read(context_management=clears).dropped == ("context_management",)


@pytest.mark.parametrize("kind", ["web_search_20250305", "web_fetch_20250910", "code_execution_20250825",
                                  "tool_search_tool_regex_20251119", "mcp_toolset"])  # fmt: skip
def test_a_hosted_tool_is_dropped_and_reported(kind: str) -> None:
    parsed = read(tools=[{"type": kind, "name": "theirs"}, NOW])
    assert parsed.dropped == (f"tools[].{family_of(kind)}",)
    assert [tool.name for tool in parsed.tools] == ["now"]
    choice = {"type": "tool", "name": "theirs"}
    with pytest.raises(Unsupported, match="theirs"):
        read(tools=[{"type": kind, "name": "theirs"}, NOW], tool_choice=choice)
    # Its own vendor has it: the core refuses it by name, or an operator allows it.
    native = read(conftest.Native, tools=[{"type": kind, "name": "theirs"}, NOW]).native
    assert native is not None
    assert len(native.body["tools"]) == 2


def test_a_conversation_adds_and_removes_tools() -> None:
    later = {"name": "later", "input_schema": {}}
    added = {"type": "tool_addition", "tool": {"type": "tool_definition", "definition": later}}
    again = {"type": "tool_addition", "tool": {"type": "tool_reference", "name": "now"}}
    gone = {"type": "tool_removal", "tool": {"type": "tool_reference", "name": "now"}}
    deferred = NOW | {"defer_loading": True}
    parsed = read(tools=[deferred], messages=[*HI, turn(added, gone, role="system")])
    assert [tool.name for tool in parsed.tools] == ["later"]
    parsed = read(tools=[deferred], messages=[*HI, turn(gone, again, TEXT, role="system")])
    assert [tool.name for tool in parsed.tools] == ["now"]
    assert parsed.dropped == ()


def test_blocks_of_other_vendors_are_dropped() -> None:
    search = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    result = {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}
    parsed = read(messages=[*HI, turn(search, result, TEXT, role="assistant"), *HI])
    assert parsed.messages[1] == Message("assistant", (TextPart("Hi"),))
    assert parsed.dropped == ("messages[].content[].server_tool_use", "messages[].content[].web_search_tool_result")


def test_search_results_and_tool_references_become_text() -> None:
    found = {"type": "search_result", "title": "t", "source": "s", "content": [TEXT], "citations": {"enabled": True}}
    refers = {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "tool_reference", "tool_name": "now"}]}
    vendor_events = read(messages=[turn(refers, found)]).messages[0]
    encoded = TextPart("The tool now can be called now.")
    assert vendor_events.parts == (ToolResultPart("t1", (encoded,)), TextPart("t\ns\n"), TextPart("Hi"))


def test_a_note_for_one_turn_is_gone_after_it() -> None:
    note = {"role": "system", "content": "Hurry.", "clear_at": "next_user_message"}
    assert [message.role for message in read(messages=[*HI, note]).messages] == ["user", "system"]
    assert [message.role for message in read(messages=[*HI, note, *HI]).messages] == ["user", "user"]


def test_examples_of_a_tools_input_become_part_of_its_description() -> None:
    [tool] = read(tools=[NOW | {"input_examples": [{"a": "b"}]}]).tools
    assert tool.description == 'the time\n\nExamples of its input:\n{"a":"b"}'


WRONG: dict[str, dict[str, Any]] = {
    "max_tokens": {"max_tokens": 0},
    "temperature": {"temperature": 2.5},
    "top_k": {"top_k": -1},
    "stop_sequences[0]": {"stop_sequences": [""]},
    "tools[0].input_schema": {"tools": [{"name": "now"}]},
    "tools[0].name": {"tools": [{"input_schema": {}}]},
    "tool_choice.type": {"tool_choice": {"type": "function"}},
    "tool_choice.name": {"tool_choice": {"type": "tool"}},
    "thinking.type": {"thinking": {}},
    "thinking.budget_tokens": {"thinking": {"type": "enabled"}},
    "output_config.effort": {"output_config": {"effort": "much"}},
    "output_config.format.type": {"output_config": {"format": {"type": "json_schema"}}},
    "metadata": {"metadata": "u"},
    "system[0].type": {"system": [{"type": "tool_use"}]},
    "system": {"system": 3},
    "messages[0]": {"messages": ["Hi"]},
    "messages[0].role": {"messages": [{"role": "tool", "content": "Hi"}]},
    "messages[0].content": {"messages": [{"role": "user", "content": 3}]},
    "messages[0].content[0]": {"messages": [{"role": "user", "content": ["Hi"]}]},
    "messages[0].content[0].type": {"messages": [turn({"text": "Hi"})]},
    "messages[0].content[0].source": {"messages": [turn({"type": "image"})]},
    "messages[0].content[0].source.media_type": {
        "messages": [turn({"type": "image", "source": {"type": "base64", "media_type": "text/html", "data": "A"}})]
    },
    "messages[0].content[0].source.url": {
        "messages": [turn({"type": "image", "source": {"type": "url", "url": "http://internal/"}})]
    },
    "messages[0].content[0].tool_use_id": {"messages": [turn({"type": "tool_result"})]},
    "messages[1].content[0].type": {"messages": [*HI, turn({"type": "tool_result"}, role="assistant")]},
}


@pytest.mark.parametrize(("field", "fields"), WRONG.items(), ids=WRONG)
def test_what_is_wrong_is_named(field: str, fields: dict[str, Any]) -> None:
    with pytest.raises(Unprocessable) as raised:
        read(**fields)
    assert raised.value.field == field


WORDS = st.sampled_from(
    [*SIDES, "text", "image", "document", "base64", "url", "content", "enabled", "tool", "novel", ""]
)
NAMES = st.sampled_from(
    ["type", "text", "source", "data", "content", "input", "id", "name", "tool_use_id", "citations", "thinking",
     "budget_tokens", "format", "schema", "effort", "extra_content", "caller", "tool_name", "input_schema"]
)  # fmt: skip
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | WORDS
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner), max_leaves=12)
OBJECTS = st.dictionaries(NAMES, VALUES) | VALUES
TURNS = st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "system"]), "content": st.lists(OBJECTS)})
FIELDS = st.sampled_from(
    ["system", "tools", "tool_choice", "thinking", "output_config", "output_format", "metadata", "stop_sequences"]
)


@given(st.sampled_from([Plain, conftest.Native]), st.lists(TURNS), st.dictionaries(FIELDS, OBJECTS | st.lists(OBJECTS)))
def test_the_oddest_body_is_read_or_refused(lane: type[Lane], messages: list[Any], fields: dict[str, Any]) -> None:
    with contextlib.suppress(KaixuError):
        read(lane, messages=messages, **fields)


@pytest.mark.parametrize("field", ["max_tokens", "messages"])
def test_what_is_missing_is_named(field: str) -> None:
    fields: dict[str, Any] = {field: None}
    with pytest.raises(Invalid) as raised:
        read(**fields)
    assert (raised.value.field, raised.value.status) == (field, 400)


def test_a_document_does_not_hold_another() -> None:
    inner = {"type": "document", "source": {"type": "content", "content": "x"}}
    with pytest.raises(Unsupported) as raised:
        read(messages=[turn({"type": "document", "source": {"type": "content", "content": [inner]}})])
    assert raised.value.field == "messages[0].content[0].source.content[0].type"


def test_a_native_request_goes_on_as_it_is_with_every_field() -> None:
    body: dict[str, Any] = {
        "model": "m",
        "max_tokens": 7,
        "messages": [turn(TEXT | {"brand_new": 1}), {"role": "assistant", "content": "The answer is ("}],
        "brand_new": {"a": 1},
        "thinking": {"type": "between_tools"},
        "tools": [{"type": "bash_20250124", "name": "bash"}, NOW | {"defer_loading": True}],
        "tool_choice": {"type": "whichever"},
        "output_config": {"effort": "utmost", "task_budget": {}, "format": {"type": "xml"}},
    }
    parsed = parse_message_request(body, deployment(conftest.Native), most_messages=100)
    assert parsed.native == Native("anthropic.messages", body)
    assert [tool.name for tool in parsed.tools] == ["bash", "now"]
    assert (parsed.tool_choice, parsed.response_format, parsed.reasoning) == (None, None, Reasoning("utmost"))


COUNTED: dict[str, tuple[Any, list[str], int]] = {
    "a field that is new": (TEXT | {"brand_new": "x" * 50}, ["Hi", '{"brand_new":"' + "x" * 50 + '"}'], 0),
    "a block that is new": ({"type": "novel", "a": "b"}, ['{"type":"novel","a":"b"}'], 0),
    "images in it": (
        {"type": "novel", "content": [{"type": "image"}, {"type": "image"}]},
        ['{"type":"novel","content":[{"type":"image"},{"type":"image"}]}'],
        2,
    ),
    "a tool that it brings in": (
        {"type": "tool_reference", "tool_name": "now"},
        ['{"type":"tool_reference","tool_name":"now"}', '{"name":"now","input_schema":{}}'],
        0,
    ),
}


@pytest.mark.parametrize(("block", "texts", "images"), COUNTED.values(), ids=COUNTED)
def test_what_only_its_own_vendor_knows_is_counted(block: Any, texts: list[str], images: int) -> None:
    parsed = read(conftest.Native, messages=[turn(block)], tools=[{"name": "now", "input_schema": {}}])
    [message] = parsed.messages
    assert texts_of(message) == texts
    assert sum(isinstance(part, ImagePart) for part in message.parts) == images


def test_a_few_bytes_cannot_bring_in_tools_without_end() -> None:
    tool = {"name": "big", "description": "x" * 100_000, "input_schema": {}}
    with pytest.raises(Unprocessable):
        read(conftest.Native, tools=[tool], messages=[turn(*[{"type": "tool_reference", "tool_name": "big"}] * 50)])


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": 1}}, "thinking"),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}, "output_config.effort"),
    ],
    ids=["a budget", "an effort"],
)
def test_unsupported_reasoning_is_named_by_the_requests_field(body: dict[str, Any], name: str) -> None:
    assert feature_fields(body)["reasoning"] == name
