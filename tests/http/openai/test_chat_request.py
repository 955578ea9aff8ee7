"""OpenAI's chat request: translated, passed through, or refused by name; nothing in between."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat.completion_create_params import CompletionCreateParamsBase

from kaixu.http.openai.chat_request import ASK_FOR_NOTHING, WITHOUT_EFFECT, chat_request
from kaixu.plugin.errors import Invalid, KaixuError, Unsupported
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
from tests.http.openai.conftest import deployment

HELLO = [{"role": "user", "content": "Hi"}]


def read(native: bool = False, **body: Any) -> ChatRequest:
    return chat_request({"model": "m", "messages": HELLO} | body, deployment(native=native), most_messages=100)


def test_the_least_that_can_be_asked() -> None:
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
        ("store", {"store": True}),
        ("prediction", {"prediction": {"type": "content", "content": "x"}}),
        ("brand_new", {"brand_new": 1}),
        ("functions", {"functions": [{"name": "f"}]}),
        ("tools[0].type", {"tools": [{"type": "custom", "custom": {"name": "c"}}]}),
        (
            "tools[0].function.extra",
            {"tools": [{"type": "function", "function": {"name": "f", "extra": 1}}]},
        ),
        ("tool_choice", {"tool_choice": {"type": "allowed_tools"}}),
        (
            "messages[0].content[0].cache_control",
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "a", "cache_control": {}}]}]},
        ),
        ("messages[0].odd", {"messages": [{"role": "user", "content": "a", "odd": 1}]}),
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
    asked = chat_request(body, deployment(native=True), most_messages=100)
    assert asked.native == Native("openai.chat", body)
    assert asked.n == 3


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


def test_every_field_of_the_official_client_is_translated_without_effect_or_refused_by_name() -> None:
    plausible: dict[str, Any] = {"messages": HELLO, "model": "m"}
    for field in CompletionCreateParamsBase.__annotations__:
        if field in plausible or field in WITHOUT_EFFECT:
            continue
        try:
            read(native=False, **{field: {"odd": "value"}})
        except KaixuError as refused:
            assert (refused.field or "").startswith(field), field  # noqa: PT017
        else:
            raise AssertionError(f"{field} was dropped in silence")
    assert set(ASK_FOR_NOTHING) <= set(CompletionCreateParamsBase.__annotations__)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = sorted(CompletionCreateParamsBase.__annotations__)


@given(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=6), st.booleans())
def test_nonsense_is_an_error_that_a_client_may_be_told(body: dict[str, Any], native: bool) -> None:
    try:
        chat_request(body, deployment(native=native), most_messages=100)
    except KaixuError as error:
        assert error.status < 500  # noqa: PT017
