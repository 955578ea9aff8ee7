"""The vendors' protocols: known fields, dropped fields, and fields that are refused because they could cost more."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaixu.plugin.protocols import PROTOCOLS, dearer_fields, filtered, is_text_alone, shape_of
from kaixu.plugin.types import Native

OPENAI, ANTHROPIC = "openai.chat", "anthropic.messages"
VENDOR_TOOLS = ("web_search_20260318", "web_fetch_20260318", "code_execution_20260521", "mcp_toolset", "brand_new")
BROUGHT_IN = {"type": "tool_addition", "tool": {"definition": {"type": VENDOR_TOOLS[0]}}}
CLIENT_TOOLS = ("bash_20250124", "text_editor_20250728", "computer_20251124", "memory_20250818", "custom", None)


def marked(**cache: str) -> dict[str, Any]:
    return {"type": "text", "text": "a", "cache_control": {"type": "ephemeral", **cache}}


def turn(*blocks: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [{"type": "tool_result", "content": list(blocks)}, *blocks]}]}


def names(protocol: str, body: dict[str, Any]) -> list[str]:
    """The fields that could cost more."""
    return [name for name, _, _ in dearer_fields(Native(protocol, body))]


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("best_of", {"best_of": 9}),
        ("n_predict", {"n_predict": 9999}),
        ("n_cmpl", {"n_cmpl": 9}),
        ("use_beam_search", {"use_beam_search": True}),
        ("web_search_options", {"web_search_options": {}}),
        ("audio", {"audio": {"voice": "alloy"}}),
        ("service_tier", {"service_tier": "priority"}),
        ("modalities", {"modalities": ["text", "audio"]}),
        ("prediction", {"prediction": {"type": "content", "content": "x"}}),
        ("store", {"store": True}),
        ("data_sources", {"data_sources": [{"type": "azure_search"}]}),
        ("web_search", {"tools": [{"type": "web_search"}]}),
        ("openrouter:web_search", {"tools": [{"type": "openrouter:web_search"}]}),
        ("None", {"tools": [{"name": "x"}]}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_openais_protocol_could_charge_beyond_the_price_is_found_by_name(name: str, body: dict[str, Any]) -> None:
    assert names(OPENAI, body) == [name]


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("mcp_servers", {"mcp_servers": [{}]}),
        ("container", {"container": "c"}),
        ("service_tier", {"service_tier": "priority"}),
        ("speed", {"speed": "fast"}),
        ("inference_geo", {"inference_geo": "us"}),
        ("fallbacks", {"fallbacks": "default"}),
        ("thread", {"thread": {"type": "create"}}),
        ("compaction", {"compaction": {"type": "new"}}),
        ("cache_control", {"cache_control": {"ttl": "1h"}}),
        ("context_management", {"context_management": {"edits": [{"type": "compact_20260112"}]}}),
        ("web_search", {"tools": [{"name": "now"}, {"type": "web_search_20260318", "name": "x"}]}),
        ("mcp_toolset", {"tools": [{"name": "now"}, {"type": "mcp_toolset", "name": "x"}]}),
        ("brand_new", {"tools": [{"name": "now"}, {"type": "brand_new", "name": "x"}]}),
        ("cache_control", {"tools": [marked(ttl="1h") | {"type": "custom"}]}),
        ("cache_control", turn(marked(ttl="1h"))),
        ("document", turn({"type": "document", "source": {"type": "url", "url": "https://x.test/a.pdf"}})),
        ("file", turn({"type": "document", "source": {"content": [{"source": {"type": "file"}}], "type": "text"}})),
        ("container_upload", turn({"type": "container_upload", "file_id": "file_1"})),
        ("web_search", turn(BROUGHT_IN)),
        ("web_search", turn({"type": "compaction", "tool_changes": [BROUGHT_IN]})),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_anthropics_protocol_could_charge_beyond_the_price_is_found_by_name(
    name: str, body: dict[str, Any]
) -> None:
    assert set(names(ANTHROPIC, body)) == {name}


@pytest.mark.parametrize(
    ("protocol", "body"),
    [
        (OPENAI, {"service_tier": "auto", "modalities": ["text"], "best_of": None, "store": False, "n_predict": None}),
        (OPENAI, {"tools": [{"type": "function", "function": {"name": "now"}}, {"type": "custom", "custom": {}}]}),
        (ANTHROPIC, {"tools": [{"type": kind, "name": "x"} for kind in CLIENT_TOOLS]}),
        (ANTHROPIC, {"mcp_servers": [], "container": None, "fallbacks": None, "tools": None}),
        (ANTHROPIC, {"service_tier": "standard_only", "speed": "standard", "inference_geo": "global"}),
        (ANTHROPIC, {"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}}),
        (ANTHROPIC, {"cache_control": {"type": "ephemeral"}, "system": [marked(ttl="5m")]} | turn(marked())),
        (
            ANTHROPIC,
            turn({"type": "document", "source": {"type": "content", "content": []}}, {"type": "tool_addition"}),
        ),
        (ANTHROPIC, {"system": "Rule.", "messages": "nonsense", "tools": [7], "context_management": []}),
        (OPENAI, {"messages": "nonsense", "tools": 7}),
    ],
)
def test_values_that_ask_for_nothing_are_not_refused(protocol: str, body: dict[str, Any]) -> None:
    assert names(protocol, body) == []


@pytest.mark.parametrize(
    ("protocol", "body", "unknown"),
    [
        (OPENAI, {"plugins": [{"id": "web"}], "models": ["dear"], "provider": {"order": []}}, 3),
        (OPENAI, {"search_parameters": {}, "enable_search": True, "chat_template": "x"}, 3),
        (OPENAI, {"max_new_tokens": 1, "max_output_tokens": 1, "options": {}, "extra_body": {}}, 4),
        (OPENAI, {"messages": [{"role": "user", "content": "x", "annotations": ["long"], "foo": 1}]}, 2),
        (OPENAI, {"messages": [{"role": "user", "content": [{"type": "text", "text": "x", "foo": 1}]}]}, 1),
        (
            OPENAI,
            {"messages": [{"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "x": 1}}]}]},
            1,
        ),
        (OPENAI, {"tools": [{"type": "function", "function": {"name": "f", "x": 1}, "y": 2}]}, 2),
        (OPENAI, {"functions": [{"name": "f", "x": 1}]}, 1),
        (ANTHROPIC, {"brand_new": {"deep": [1]}, "messages": [{"role": "user", "content": [marked() | {"x": 1}]}]}, 2),
        (ANTHROPIC, {"system": [marked() | {"x": 1}], "tools": [{"name": "now", "x": 1}]}, 2),
    ],
)
def test_unknown_fields_are_left_out_wherever_they_stand(protocol: str, body: dict[str, Any], unknown: int) -> None:
    result = filtered(body, shape_of(protocol))
    assert len(result.unknown) == unknown
    assert filtered(result.value, shape_of(protocol)) == (result.value, [])


def test_fields_that_an_operator_knows_are_kept_by_their_place() -> None:
    body = {"mine": 1, "messages": [{"role": "user", "mine": 1, "other": 2}]}
    assert filtered(body, shape_of(OPENAI), ["messages[].mine"]) == (
        {"messages": [{"role": "user", "mine": 1}]},
        ["mine", "messages[0].other"],
    )


def test_unknown_fields_that_say_nothing_are_not_told() -> None:
    assert filtered({"mine": None}, shape_of(OPENAI)) == ({}, [])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_is_allowed_by_its_name_is_known_too(protocol: str) -> None:
    """Otherwise it would be dropped although an operator has allowed it."""
    module = {OPENAI: "openai_chat", ANTHROPIC: "anthropic_messages"}[protocol]
    from importlib import import_module

    assert set(import_module(f"kaixu.plugin.protocols.{module}").DEARER) <= set(shape_of(protocol))


ODD = st.sampled_from([None, False, True, 0, 1, 9, "x", "priority", [], [{"type": "web_search"}], {}, {"tools": [1]}])
TURN = st.dictionaries(st.sampled_from(["role", "content", "name", "tool_calls", "unknown"]), ODD, max_size=3)
BODY = st.dictionaries(st.sampled_from([*sorted(shape_of(OPENAI)), "unknown"]), ODD, max_size=4)


@given(BODY, st.one_of(st.lists(st.one_of(TURN, st.just({"role": "user", "content": "Hi"})), max_size=3), ODD))
def test_a_body_of_text_alone_has_nothing_unknown_and_nothing_dearer(body: dict[str, Any], messages: Any) -> None:
    body = body | {"messages": messages}
    if is_text_alone(Native(OPENAI, body)):
        assert names(OPENAI, body) == []
        assert filtered(body, shape_of(OPENAI)) == (body, [])


@pytest.mark.parametrize("field", sorted(shape_of(OPENAI)))
@pytest.mark.parametrize("value", [True, 9, "priority", [{"type": "web_search"}], {"tools": [1]}], ids=str)
def test_no_field_of_a_body_of_text_alone_costs_more(field: str, value: object) -> None:
    body = {"messages": [{"role": "user", "content": "Hi"}], field: value}
    assert not (is_text_alone(Native(OPENAI, body)) and names(OPENAI, body))


def test_usual_bodies_are_text_alone() -> None:
    usual = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5, "temperature": 1.0}
    assert is_text_alone(Native(OPENAI, usual))
    assert not is_text_alone(Native(OPENAI, usual | {"tools": []}))
