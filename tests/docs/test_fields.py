"""docs/clients/fields.md names every field of the official clients, and says of each what happens to it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from anthropic.types import message_create_params as messages
from anthropic.types.beta import message_create_params as beta
from kaixu_anthropic import Anthropic, AnthropicOptions
from msgspec import structs
from openai.types.chat.completion_create_params import CompletionCreateParamsBase
from openai.types.responses.response_create_params import ResponseCreateParamsBase

from kaixu.api.anthropic.request import message_request
from kaixu.metering.native_fields import with_known_fields
from kaixu.plugin.errors import Unsupported
from kaixu.plugin.protocols import PROTOCOLS, shape_of
from kaixu.plugin.types import ChatRequest
from tests.api.anthropic.conftest import Native, Thinking, deployment

from .pages import text_of

PAGE = text_of("docs/clients/fields.md")
MESSAGES = "/v1/messages"
#: What Anthropic's client sends as headers.
HEADERS = {"betas", "user_profile_id", "workspace_id"}
#: What older versions of it send, and what says that it is streamed.
OLDER = {"temperature", "top_p", "top_k", "output_format", "stream"}


def table(door: str, head: str = "field") -> dict[str, str]:
    """What is said of each field, or block, in a door's table."""
    section = PAGE.split(f"## `{door}`\n")[1].split("\n## ")[0]
    lines = section.split(f"| {head} |")[1].split("\n\n")[0].splitlines()
    rows = [line.strip("|").split("|") for line in lines if line.startswith("| `")]
    return {name: said.strip() for names, said in rows for name in re.findall(r"`(\w+)`", names)}


@pytest.mark.parametrize(
    ("door", "fields"),
    [
        ("/v1/chat/completions", {*CompletionCreateParamsBase.__annotations__, "stream"}),
        ("/v1/responses", {*ResponseCreateParamsBase.__annotations__, "stream"}),
        (
            MESSAGES,
            {*messages.MessageCreateParamsBase.__annotations__, *beta.MessageCreateParamsBase.__annotations__, *OLDER}
            - HEADERS,
        ),
    ],
    ids=["chat completions", "responses", "messages"],
)
def test_every_field_is_named_once(door: str, fields: set[str]) -> None:
    section = PAGE.split(f"## `{door}`\n")[1].split("\n## ")[0].split("| block |")[0]
    named = [name for line in section.splitlines() if line.startswith("| `") for name in re.findall(r"`(\w+)`", line.split("|")[1])]  # fmt: skip
    assert sorted(named) == sorted(fields)


def test_headers_of_anthropics_client_are_told_apart() -> None:
    for name in HEADERS:
        assert f"`{name}`" in PAGE


#: A value that asks for something, of each field that is not simply translated.
ASKING: dict[str, Any] = {
    "cache_control": {"type": "ephemeral"},
    "diagnostics": {"previous_message_id": "m"},
    "metadata": {"session": "s"},
    "service_tier": "priority",
    "speed": "fast",
    "inference_geo": "us",
    "container": "c",
    "mcp_servers": [{"type": "url", "url": "https://x", "name": "x"}],
    "fallbacks": [{"model": "m"}],
    "compaction": {"type": "auto"},
    "thread": {"type": "create"},
    "context_management": {"edits": [{"type": "compact_20260112"}]},
    "billing_policy": {"type": "billing_policy", "bill_to": "user_profile"},
    "fallback_credit_token": "t",
}
#: The same of those that are translated, and what of the contract's request they set.
TRANSLATED: dict[str, tuple[Any, str]] = {
    "system": ("Be kind.", "messages"),
    "temperature": (0.5, "temperature"),
    "top_p": (0.5, "top_p"),
    "top_k": (5, "top_k"),
    "stop_sequences": (["END"], "stop"),
    "tools": ([{"name": "now", "input_schema": {"type": "object"}}], "tools"),
    "tool_choice": ({"type": "any"}, "tool_choice"),
    "thinking": ({"type": "enabled", "budget_tokens": 2048}, "reasoning"),
    "output_config": ({"effort": "low"}, "reasoning"),
    "output_format": ({"type": "json_schema", "schema": {"type": "object"}}, "response_format"),
}
PLAIN: dict[str, Any] = {"model": "m", "max_tokens": 7, "messages": [{"role": "user", "content": "Hi"}]}
ALWAYS = {"model", "messages", "max_tokens", "stream"}
LANE = Anthropic(AnthropicOptions.model_validate({"api_key": "k"}))


def translated(**fields: Any) -> ChatRequest:
    """A request to a lane that speaks something else."""
    return message_request(PLAIN | fields, deployment(Thinking), most_messages=100)


def passed_on(**fields: Any) -> ChatRequest:
    """A request to a lane that speaks Anthropic's protocol, after it was looked at."""
    request = message_request(PLAIN | fields, deployment(Native), most_messages=100)
    return with_known_fields(request, deployment(Native))


def test_every_row_of_anthropics_table_is_tried() -> None:
    assert {*ASKING, *TRANSLATED} == set(table(MESSAGES)) - ALWAYS


@pytest.mark.parametrize("field", sorted(ASKING))
def test_a_field_of_anthropics_is_refused_or_without_effect_as_the_table_says(field: str) -> None:
    said, asked = table(MESSAGES)[field], {field: ASKING[field]}
    if said.startswith("left out"):
        assert translated(**asked) == structs.replace(translated(), dropped=(field,))
    elif said.startswith("refused"):
        with pytest.raises(Unsupported) as raised:
            translated(**asked)
        assert raised.value.field == field
    else:
        assert "without effect" in said
        assert translated(**asked) == translated()


@pytest.mark.parametrize("field", sorted(TRANSLATED))
def test_a_field_of_anthropics_is_translated_as_the_table_says(field: str) -> None:
    value, place = TRANSLATED[field]
    assert "translated" in table(MESSAGES)[field]
    assert getattr(translated(**{field: value}), place) != getattr(translated(), place)


@pytest.mark.parametrize("field", sorted({*ASKING, *TRANSLATED, "brand_new"}))
def test_a_lane_that_speaks_the_protocol_gets_a_field_unless_it_is_refused_everywhere(field: str) -> None:
    asked = {field: ASKING.get(field, TRANSLATED.get(field, ("new",))[0])}
    said = table(MESSAGES).get(field, "")
    if (said.startswith("refused") and "**everywhere**" in said) or field == "context_management":
        with pytest.raises(Unsupported) as raised:
            passed_on(**asked)
        assert raised.value.field == field
    else:
        native = passed_on(**asked).native
        assert native is not None
        assert native.body == PLAIN | ({} if field == "brand_new" else asked)


def test_what_the_table_says_of_single_values_is_so() -> None:
    with pytest.raises(Unsupported, match="cache_control"):
        passed_on(cache_control={"type": "ephemeral", "ttl": "1h"})
    with pytest.raises(Unsupported, match="task_budget"):
        translated(output_config={"task_budget": {"type": "tokens", "total": 9}})
    clears = {"edits": [{"type": "clear_tool_uses_20250919"}]}
    assert passed_on(context_management=clears).native is not None
    asking_for_nothing: list[dict[str, Any]] = [
        {"service_tier": "auto"},
        {"service_tier": "standard_only"},
        {"speed": "standard"},
        {"inference_geo": "global"},
        {"mcp_servers": []},
        {"top_k": 0},
    ]
    for harmless in asking_for_nothing:
        assert translated(**harmless) == translated()
        assert passed_on(**harmless).native is not None


IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}
NOW = {"type": "tool_reference", "name": "now"}
#: The role that says it, the block, and whether the table has it translated; None: left out, or no part of a turn.
BLOCKS: dict[str, list[tuple[str, dict[str, Any], bool | None]]] = {
    "text": [("user", {"type": "text", "text": "Hi"}, True)],
    "image": [
        ("user", IMAGE, True),
        ("user", {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}}, True),
        ("user", {"type": "image", "source": {"type": "file", "file_id": "f"}}, False),
    ],
    "document": [
        ("user", {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}}, True),
        ("user", {"type": "document", "source": {"type": "content", "content": [IMAGE]}}, True),
        ("user", {"type": "document", "source": {"type": "base64", "data": "AA=="}}, False),
        ("user", {"type": "document", "source": {"type": "url", "url": "https://x/y.pdf"}}, False),
    ],
    "tool_use": [("assistant", {"type": "tool_use", "id": "t", "name": "now", "input": {}}, True)],
    "tool_result": [("user", {"type": "tool_result", "tool_use_id": "t", "content": "noon", "is_error": True}, True)],
    "thinking": [("assistant", {"type": "thinking", "thinking": "hm", "signature": "s"}, True)],
    "redacted_thinking": [("assistant", {"type": "redacted_thinking", "data": "s"}, True)],
    "search_result": [("user", {"type": "search_result", "source": "s", "title": "t", "content": []}, True)],
    "tool_reference": [
        (
            "user",
            {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "tool_reference", "tool_name": "n"}]},
            True,
        )
    ],
    "tool_addition": [("system", {"type": "tool_addition", "tool": NOW}, None)],
    "tool_removal": [("system", {"type": "tool_removal", "tool": NOW}, None)],
    "server_tool_use": [("assistant", {"type": "server_tool_use", "id": "s", "name": "n", "input": {}}, None)],
    "web_search_tool_result": [
        ("assistant", {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}, None)
    ],
    "compaction": [("assistant", {"type": "compaction", "content": "c"}, None)],
    "container_upload": [("user", {"type": "container_upload", "file_id": "f"}, False)],
}


def test_every_row_of_the_table_of_blocks_is_tried() -> None:
    assert set(BLOCKS) == set(table(MESSAGES, "block"))


@pytest.mark.parametrize("kind", BLOCKS)
def test_a_block_is_translated_or_refused_as_the_table_says(kind: str) -> None:
    user = {"role": "user", "content": "Hi"}
    for role, block, works in BLOCKS[kind]:
        turns = {"messages": [user, {"role": role, "content": [block]}, user]}
        if works:
            said = translated(**turns).messages[1]
            assert (said.role, len(said.parts)) == (role, 1)
            assert passed_on(**turns).native is not None
        elif works is None:
            left_out = "left out" in table(MESSAGES, "block")[kind]
            assert translated(**turns).dropped == ((f"messages[].content[].{kind}",) if left_out else ())
            assert passed_on(**turns).native is not None
        else:
            with pytest.raises(Unsupported):
                translated(**turns)
            with pytest.raises(Unsupported):
                passed_on(**turns)


def test_any_other_block_is_refused_and_goes_to_a_lane_that_speaks_it() -> None:
    turns = {"messages": [{"role": "user", "content": [{"type": "novel", "source": "s", "title": "t"}]}]}
    with pytest.raises(Unsupported):
        translated(**turns)
    assert passed_on(**turns).native is not None


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_known_field_of_a_protocol_is_named(protocol: str) -> None:
    section = PAGE.split("## Known, unknown and dearer fields")[1]
    assert [name for name in shape_of(protocol) if f"`{name}`" not in section] == []
