"""OpenAI's chat request: fields are translated, passed through, or refused by name."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat.completion_create_params import CompletionCreateParamsBase

from kaixu.api.openai.chat_request import DEFAULT_VALUES, IGNORED, REFUSED, parse_chat_request
from kaixu.api.openai.custom_tools import PARAMETERS
from kaixu.plugin.errors import Invalid, KaixuError, Unsupported
from kaixu.plugin.protocols import family_of
from kaixu.plugin.types import (
    ChatRequest,
    ImagePart,
    Message,
    Native,
    Reasoning,
    ReasoningPart,
    ResponseFormat,
    TextPart,
    Tool,
    ToolCallPart,
    ToolName,
    ToolResultPart,
)
from tests.api.openai.conftest import deployment

HELLO = [{"role": "user", "content": "Hi"}]


def read(native: bool = False, **body: Any) -> ChatRequest:
    return parse_chat_request({"model": "m", "messages": HELLO} | body, deployment(native=native), most_messages=100)


def read_strictly(**body: Any) -> ChatRequest:
    strict = msgspec.structs.replace(deployment(), unknown_fields="refuse")
    return parse_chat_request({"model": "m", "messages": HELLO} | body, strict, most_messages=100)


def test_the_minimal_request() -> None:
    assert read() == ChatRequest("upstream", (Message("user", (TextPart("Hi"),)),), 1024)


CALL = {"id": "c1", "type": "function", "function": {"name": "now", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("turn", "message"),
    [
        ({"role": "system", "content": "Be kind"}, Message("system", (TextPart("Be kind"),))),
        ({"role": "user", "content": "Hi", "name": "ada"}, Message("user", (TextPart("Hi"),), "ada")),
        (
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is it?"},
                    {"type": "image_url", "image_url": {"url": "https://a.test/b.png", "detail": "low"}},
                ],
            },
            Message("user", (TextPart("What is it?"), ImagePart("https://a.test/b.png", "low"))),
        ),
        (
            {"role": "assistant", "content": None, "refusal": None, "tool_calls": [CALL]},
            Message("assistant", (ToolCallPart("c1", "now", "{}"),)),
        ),
        (
            {
                "role": "assistant",
                "content": "a",
                "tool_calls": [CALL | {"extra_content": {"google": {"thought_signature": "s"}}}],
            },
            Message("assistant", (TextPart("a"), ToolCallPart("c1", "now", "{}", "s"))),
        ),
        (
            {"role": "assistant", "content": "a", "reasoning_content": "hm"},
            Message("assistant", (ReasoningPart("hm"), TextPart("a"))),
        ),
        (
            {
                "role": "assistant",
                "content": "a",
                "reasoning_details": [
                    {"type": "reasoning.text", "text": "hm", "signature": "s"},
                    {"type": "reasoning.encrypted", "data": "d"},
                ],
            },
            Message("assistant", (ReasoningPart("hm", "s"), ReasoningPart("", "d"), TextPart("a"))),
        ),
        ({"role": "assistant", "refusal": "No."}, Message("assistant", (TextPart("No."),))),
        (
            {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "noon"}]},
            Message("tool", (ToolResultPart("c1", (TextPart("noon"),)),)),
        ),
        (
            {"role": "tool", "tool_call_id": "c1", "content": ""},
            Message("tool", (ToolResultPart("c1", ()),)),
        ),
    ],
)
def test_turns_become_messages(turn: dict[str, Any], message: Message) -> None:
    assert read(messages=[turn]).messages == (message,)


@pytest.mark.parametrize(
    ("body", "field", "value"),
    [
        ({"max_tokens": 5}, "max_tokens", 5),
        ({"max_tokens": 5, "max_completion_tokens": 6}, "max_tokens", 6),
        ({"max_tokens": 10_000}, "max_tokens", 8192),
        ({"stop": "a"}, "stop", ("a",)),
        ({"stop": ["a", "b"]}, "stop", ("a", "b")),
        ({"temperature": 2}, "temperature", 2.0),
        ({"seed": 7.0}, "seed", 7),
        ({"presence_penalty": -2}, "presence_penalty", -2.0),
        (
            {"tools": [{"type": "function", "function": {"name": "now", "strict": True}}]},
            "tools",
            (Tool("now", None, None, True),),
        ),
        ({"tool_choice": "required"}, "tool_choice", "required"),
        (
            {"tool_choice": {"type": "function", "function": {"name": "now"}}},
            "tool_choice",
            ToolName("now"),
        ),
        ({"response_format": {"type": "text"}}, "response_format", None),
        ({"response_format": {"type": "json_object"}}, "response_format", ResponseFormat()),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}},
            "response_format",
            ResponseFormat({"type": "object"}, "n"),
        ),
        ({"reasoning_effort": "low"}, "reasoning", Reasoning("low")),
        ({"user": "ada"}, "user", "ada"),
        ({"user": "ada", "safety_identifier": "lovelace"}, "user", "lovelace"),
        ({"store": False, "logprobs": False, "service_tier": "auto", "metadata": {"a": "b"}}, "user", None),
    ],
)
def test_fields_are_translated(body: dict[str, Any], field: str, value: Any) -> None:
    assert getattr(read(**body), field) == value


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("logprobs", {"logprobs": True}),
        ("logit_bias", {"logit_bias": {"1": 2}}),
        ("prediction", {"prediction": {"type": "content", "content": "x"}}),
        ("tool_choice", {"tool_choice": {"type": "whichever"}}),
        ("tool_choice", {"tools": [{"type": "web_search"}], "tool_choice": {"type": "web_search"}}),
        ("tool_choice", {"tools": [{"type": "web_search_preview"}], "tool_choice": "required"}),
        ("service_tier", {"service_tier": "priority"}),
        ("web_search_options", {"web_search_options": {}}),
        ("messages[0].audio", {"messages": [{"role": "assistant", "content": "a", "audio": {"id": "x"}}]}),
    ],
)
def test_what_another_vendor_has_no_word_for_is_refused_by_name(field: str, body: dict[str, Any]) -> None:
    with pytest.raises(Unsupported) as refused:
        read(**body)
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("messages", {"messages": None}),
        ("messages", {"messages": []}),
        ("messages", {"messages": "Hi"}),
        ("messages[0]", {"messages": ["Hi"]}),
        ("messages[0].role", {"messages": [{"role": "wizard", "content": "Hi"}]}),
        ("messages[0].content", {"messages": [{"role": "user", "content": 3}]}),
        ("messages[0].content[0].type", {"messages": [{"role": "user", "content": [{"type": "odd"}]}]}),
        (
            "messages[0].content[0].image_url",
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "http://a/"}]}]},
        ),
        ("messages[0].tool_call_id", {"messages": [{"role": "tool", "content": "x"}]}),
        ("max_tokens", {"max_tokens": 0}),
        ("max_completion_tokens", {"max_completion_tokens": "many"}),
        ("temperature", {"temperature": 3}),
        ("top_p", {"top_p": True}),
        ("stop", {"stop": [""]}),
        ("stop", {"stop": ["a"] * 17}),
        ("seed", {"seed": 2**63}),
        ("n", {"n": 129}),
        ("tools", {"tools": {}}),
        ("tools[0].function", {"tools": [{"type": "function"}]}),
        ("response_format.type", {"response_format": {"type": "xml"}}),
        ("reasoning_effort", {"reasoning_effort": "gigantic"}),
        ("parallel_tool_calls", {"parallel_tool_calls": "yes"}),
    ],
)
def test_a_wrong_field_is_named(field: str, body: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as refused:
        read(**body)
    assert refused.value.field == field


def test_a_lane_that_speaks_openai_gets_the_body_as_it_is() -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi", "odd": 1}], "logit_bias": {"1": 2}, "n": 3}
    parsed = parse_chat_request(body, deployment(native=True), most_messages=100)
    assert parsed.native == Native("openai.chat", body)
    assert parsed.n == 3


PARTS_WITHOUT_PRICE: list[dict[str, Any]] = [
    {"type": "input_audio", "input_audio": {}},
    {"type": "file", "file": {}},
]


@pytest.mark.parametrize("part", PARTS_WITHOUT_PRICE, ids=lambda part: part["type"])
@pytest.mark.parametrize("native", [False, True])
def test_parts_without_a_price_are_refused_everywhere(part: dict[str, Any], native: bool) -> None:
    with pytest.raises(Unsupported) as refused:
        read(native=native, messages=[{"role": "user", "content": [part]}])
    assert refused.value.field == "messages[0].content[0].type"


UNKNOWN: dict[str, dict[str, Any]] = {
    "brand_new": {"brand_new": 1},
    "messages[].odd": {"messages": [{"role": "user", "content": "a", "odd": 1}] * 3},
    "messages[].content[].odd": {"messages": [{"role": "user", "content": [{"type": "text", "text": "a", "odd": 1}]}]},
    "messages[].tool_calls[].odd": {"messages": [*HELLO, {"role": "assistant", "tool_calls": [CALL | {"odd": 1}]}]},
    "tools[].function.odd": {"tools": [{"type": "function", "function": {"name": "f", "odd": 1}}]},
    "tools[].odd": {"tools": [{"type": "function", "function": {"name": "f"}, "odd": 1}]},
    "tools[].whichever": {"tools": [{"type": "whichever"}]},
}


@pytest.mark.parametrize(("name", "body"), UNKNOWN.items(), ids=UNKNOWN)
def test_an_unknown_field_is_dropped_and_reported_or_refused_by_the_lane(name: str, body: dict[str, Any]) -> None:
    assert read(**body).dropped == (name,)
    with pytest.raises(Unsupported) as refused:
        read_strictly(**body)
    assert (refused.value.field or "").split("[")[0] == name.split("[")[0]


@pytest.mark.parametrize("kind", ["web_search", "web_search_preview", "web_search_preview_2025_03_11", "mcp",
                                  "code_interpreter", "file_search", "image_generation", "computer_use_preview"])  # fmt: skip
def test_a_hosted_tool_is_dropped_and_reported(kind: str) -> None:
    parsed = read(tools=[{"type": kind}, FUNCTION], tool_choice="auto")
    assert parsed.dropped == (f"tools[].{family_of(kind)}",)
    assert [tool.name for tool in parsed.tools] == ["f"]
    # Its own vendor has it: the core refuses it by name, or an operator allows it.
    native = read(native=True, tools=[{"type": kind}, FUNCTION]).native
    assert native is not None
    assert len(native.body["tools"]) == 2


def test_an_operator_may_allow_it_where_the_protocol_is_the_vendors_own() -> None:
    allowing = msgspec.structs.replace(deployment(native=True), allow=frozenset({"web_search"}))
    body = {"model": "m", "messages": HELLO, "tools": [{"type": "web_search_preview"}]}
    parsed = parse_chat_request(body, allowing, most_messages=100)
    assert (parsed.dropped, parsed.native) == ((), Native("openai.chat", body))


CUSTOM: dict[str, Any] = {"type": "custom", "custom": {"name": "patch", "description": "Change a file."}}
FUNCTION: dict[str, Any] = {"type": "function", "function": {"name": "f"}}


def test_a_custom_tool_is_a_function_with_one_text() -> None:
    [tool] = read(tools=[CUSTOM], tool_choice={"type": "custom", "custom": {"name": "patch"}}).tools
    assert (tool.name, tool.description, tool.parameters) == ("patch", "Change a file.", PARAMETERS)
    grammar = {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: /x/"}}
    [strict] = read(tools=[{"type": "custom", "custom": CUSTOM["custom"] | {"format": grammar}}]).tools
    assert "start: /x/" in (strict.description or "")
    call = {"id": "c1", "type": "custom", "custom": {"name": "patch", "input": 'a "b"'}}
    for native in (False, True):
        said = read(native, messages=[*HELLO, {"role": "assistant", "tool_calls": [call]}]).messages[1]
        assert said == Message("assistant", (ToolCallPart("c1", "patch", '{"input":"a \\"b\\""}'),))


def test_functions_of_the_older_form_are_tools_and_their_turns_results() -> None:
    turns = [
        *HELLO,
        {"role": "assistant", "content": None, "function_call": {"name": "now", "arguments": "{}"}},
        {"role": "function", "name": "now", "content": "noon"},
        {"role": "assistant", "function_call": {"name": "now", "arguments": '{"a":1}'}},
        {"role": "function", "name": "now", "content": "one"},
    ]
    for native in (False, True):
        parsed = read(native, messages=turns, functions=[{"name": "now"}], function_call={"name": "now"})
        assert parsed.messages[1:] == (
            Message("assistant", (ToolCallPart("call_function_1", "now", "{}"),)),
            Message("tool", (ToolResultPart("call_function_1", (TextPart("noon"),)),)),
            Message("assistant", (ToolCallPart("call_function_2", "now", '{"a":1}'),)),
            Message("tool", (ToolResultPart("call_function_2", (TextPart("one"),)),)),
        )
        assert (parsed.tools, parsed.tool_choice) == ((Tool("now"),), ToolName("now"))
    with pytest.raises(Invalid) as refused:
        read(messages=[*HELLO, {"role": "function", "name": "never", "content": "x"}])
    assert refused.value.field == "messages[1].name"


def test_some_of_the_tools_may_be_allowed_only() -> None:
    other = {"type": "function", "function": {"name": "g"}}
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [FUNCTION]}}
    parsed = read(tools=[FUNCTION, other], tool_choice=choice)
    assert ([tool.name for tool in parsed.tools], parsed.tool_choice) == (["f"], "required")


FOR_NOTHING: list[dict[str, Any]] = [
    {"store": True},
    {"metadata": {"a": "b"}},
    {"prompt_cache_key": "k"},
    {"service_tier": "flex"},
    {"parallel_tool_calls": True},
    {"tool_choice": "auto"},
    {"tool_choice": "none"},
    {"presence_penalty": 0, "frequency_penalty": 0},
    {"logit_bias": {}, "logprobs": False, "top_logprobs": 0, "functions": [], "n": 1},
]


@pytest.mark.parametrize("body", FOR_NOTHING, ids=lambda body: ", ".join(body))
def test_what_asks_for_nothing_has_no_effect(body: dict[str, Any]) -> None:
    assert read(**body) == read()
    assert read_strictly(**body) == read()


def test_the_name_of_a_tool_is_not_that_of_a_speaker() -> None:
    turns = [*HELLO, {"role": "assistant", "tool_calls": [CALL]}]
    turns.append({"role": "tool", "tool_call_id": "c1", "name": "now", "content": "noon"})
    assert read(messages=turns).messages[2] == Message("tool", (ToolResultPart("c1", (TextPart("noon"),)),))


def test_cache_points_are_translated_in_every_place() -> None:
    point, hour = {"type": "ephemeral"}, {"type": "ephemeral", "ttl": "1h"}
    parsed = read(
        messages=[
            {"role": "system", "content": "a", "cache_control": hour},
            {"role": "user", "content": [{"type": "text", "text": "b", "cache_control": point}]},
            {"role": "assistant", "tool_calls": [CALL | {"cache_control": point}]},
            {"role": "tool", "tool_call_id": "c1", "content": "d", "cache_control": point},
        ],
        tools=[
            FUNCTION | {"cache_control": point},
            {"type": "function", "function": {"name": "g", "cache_control": point}},
        ],
    )
    assert [part.cache for message in parsed.messages for part in message.parts] == ["1h", "5m", "5m", "5m"]  # type: ignore[union-attr]
    assert [tool.cache for tool in parsed.tools] == ["5m", "5m"]
    assert parsed.dropped == ()
    odd = read(messages=[{"role": "user", "content": "a", "cache_control": 7}])
    assert odd.messages == (Message("user", (TextPart("a"),)),)


def test_every_field_of_the_official_client_is_translated_ignored_reported_or_refused_by_name() -> None:
    plausible: dict[str, Any] = {"messages": HELLO, "model": "m"}
    for field in CompletionCreateParamsBase.__annotations__:
        if field in plausible or field in IGNORED:
            continue
        try:
            assert field in read(native=False, **{field: {"odd": "value"}}).dropped, f"{field} was dropped in silence"
        except KaixuError as refused:
            assert (refused.field or "").startswith(field), field  # noqa: PT017
    assert set(DEFAULT_VALUES) | REFUSED <= set(CompletionCreateParamsBase.__annotations__)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = sorted(CompletionCreateParamsBase.__annotations__)


@given(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=6), st.booleans())
def test_invalid_requests_are_client_errors(body: dict[str, Any], native: bool) -> None:
    try:
        parse_chat_request(body, deployment(native=native), most_messages=100)
    except KaixuError as error:
        assert error.status < 500  # noqa: PT017
