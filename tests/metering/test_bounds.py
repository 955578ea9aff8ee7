"""The hold bounds the request as it goes out: text in any field of any body is counted, refused, or not sent."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import msgspec
import pytest
from kaixu_anthropic import Anthropic, AnthropicOptions
from kaixu_gemini import Gemini, GeminiOptions
from kaixu_openai import OpenAI, OpenAIOptions

from kaixu.api.anthropic.request import parse_message_request
from kaixu.api.native.chat_request import parse_native_chat_request
from kaixu.api.openai.chat_request import parse_chat_request
from kaixu.api.openai.responses_request import parse_responses_request
from kaixu.catalog.catalog import Deployment, LaneState
from kaixu.config.sections import LaneSection, TimeoutSection
from kaixu.metering.counting import counted_input_tokens, most_input_tokens
from kaixu.metering.lanes import supporting_deployments
from kaixu.metering.native_fields import with_known_fields
from kaixu.plugin.errors import Invalid, KaixuError
from kaixu.plugin.lane import Lane
from kaixu.plugin.testing import FakeWire, json_answer
from kaixu.plugin.types import ChatRequest

LONG = "Zq" * 5000
IMAGE = "data:image/png;base64,AAAA"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string", "description": "where"}}}

CHAT: dict[str, Any] = {
    "model": "lane/m",
    "max_tokens": 5,
    "temperature": 0.5,
    "stop": ["END"],
    "user": "u",
    "metadata": {"a": "b"},
    "chat_template_kwargs": {"a": "b"},
    "documents": [{"text": "x"}],
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "description": "d", "schema": SCHEMA}},
    "tools": [
        {"type": "function", "function": {"name": "f", "description": "d", "parameters": SCHEMA, "strict": False}}
    ],
    "tool_choice": {"type": "function", "function": {"name": "f"}},
    "messages": [
        {"role": "system", "content": "s", "name": "n"},
        {
            "role": "user",
            "content": [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": IMAGE}}],
        },
        {
            "role": "assistant",
            "content": "y",
            "reasoning_content": "r",
            "refusal": None,
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "f", "arguments": '{"city":"Rome"}'},
                    "extra_content": {"google": {"thought_signature": "sig"}},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
        {"role": "assistant", "content": "z", "reasoning_details": [{"type": "reasoning.text", "text": "t"}]},
        {"role": "user", "content": "go on"},
    ],
}
NATIVE: dict[str, Any] = {
    "provider": "lane",
    "model": "m",
    "max_tokens": 5,
    "messages": [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": "y"},
        {"role": "user", "content": "z"},
    ],
}
RESPONSES: dict[str, Any] = {
    "model": "lane/m",
    "max_output_tokens": 5,
    "instructions": "i",
    "metadata": {"a": "b"},
    "tools": [{"type": "function", "name": "f", "description": "d", "parameters": SCHEMA}],
    "text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA}},
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "x"}, {"type": "input_image", "image_url": IMAGE}]},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "t"}], "encrypted_content": "e"},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "sunny"},
    ],
}
MESSAGES: dict[str, Any] = {
    "model": "lane/m",
    "max_tokens": 5,
    "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
    "metadata": {"user_id": "u"},
    "stop_sequences": ["END"],
    "tools": [{"name": "f", "description": "d", "input_schema": SCHEMA}],
    "tool_choice": {"type": "tool", "name": "f"},
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "x"}]},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "t", "signature": "s"},
                {"type": "tool_use", "id": "c1", "name": "f", "input": {"city": "Rome"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "sunny"}]},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
                {
                    "type": "document",
                    "title": "t",
                    "context": "c",
                    "source": {"type": "text", "media_type": "text/plain", "data": "d"},
                },
            ],
        },
    ],
}

Read = Callable[[dict[str, Any], Deployment], ChatRequest]
DOORS: dict[str, tuple[dict[str, Any], Read]] = {
    "chat": (CHAT, lambda body, one: parse_chat_request(body, one, most_messages=100)),
    "native": (NATIVE, lambda body, one: parse_native_chat_request(body, one, most_messages=100)),
    "native-openai": (CHAT, lambda body, one: parse_native_chat_request(body, one, most_messages=100)),
    "responses": (RESPONSES, lambda body, one: parse_responses_request(body, one, most_messages=100)),
    "messages": (MESSAGES, lambda body, one: parse_message_request(body, one, most_messages=100)),
}
LANES: dict[str, Lane] = {
    "openai": OpenAI(OpenAIOptions.model_validate({"api_key": "k"})),
    "openai-extra": OpenAI(OpenAIOptions.model_validate({"api_key": "k", "extra_body": {"mine": "x" * 300}})),
    "anthropic": Anthropic(AnthropicOptions.model_validate({"api_key": "k"})),
    "gemini": Gemini(GeminiOptions.model_validate({"api_key": "k"})),
}


def deployment(lane: Lane, unknown_fields: str = "drop") -> Deployment:
    """A model behind a lane."""
    section = LaneSection.model_validate({"plugin": "p", "models": {"m": {"type": "chat"}}})
    return Deployment(
        provider="lane", model="m", kind="chat", upstream="upstream", lane=lane, state=LaneState("lane", section, "on", None, lane),
        price=None, cost=None, max_output_tokens=8192, default_output_tokens=5, image_tokens=100, dimensions=None,
        fixed_dimensions=False, on_disconnect="cancel", timeouts=TimeoutSection(), retries=0,
        unknown_fields=unknown_fields,  # type: ignore[arg-type]
    )  # fmt: skip


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Every place of a body where a text can stand, and what is done there: "set", "field" or "item"."""
    if isinstance(value, dict):
        yield path, "field"
        for name, inner in value.items():
            yield from places(inner, (*path, name))
    elif isinstance(value, list):
        yield path, "item"
        for at, inner in enumerate(value):
            yield from places(inner, (*path, at))
    else:
        yield path, "set"


def with_text(body: dict[str, Any], path: tuple[str | int, ...], how: str, text: Any) -> dict[str, Any]:
    """The body with a text at a place."""
    body = copy.deepcopy(body)
    *before, last = path or ("",)
    holder: Any = body
    for step in before:
        holder = holder[step]
    if how == "set":
        holder[last] = text
        return body
    target: Any = holder[last] if path else body
    if how == "field":
        target["zz_unknown"] = text
    else:
        target.append(text)
    return body


async def sent(lane: Lane, request: ChatRequest) -> str:
    """What the lane sends for a request."""
    wire = FakeWire(json_answer({}, 500))
    with pytest.raises(KaixuError):
        async for _ in lane.chat(request, wire):
            pass
    request_sent: httpx.Request = wire.requests[0]
    return json.dumps(json.loads(request_sent.content), ensure_ascii=False)


async def outcome(read: Read, body: dict[str, Any], one: Deployment) -> tuple[int, str] | None:
    """The bound and what goes out; None where it is refused."""
    try:
        request = with_known_fields(read(copy.deepcopy(body), one), one)
        supporting_deployments(one, request)
        bound = most_input_tokens(request, one)
    except Invalid:
        return None
    assert counted_input_tokens(request, one) <= bound
    assert one.lane is not None
    return bound, await sent(one.lane, request)


def is_image(path: tuple[str | int, ...]) -> bool:
    """Whether the place is an image's data, which is not counted by its length."""
    return path[-1:] in (("url",), ("image_url",)) or path[-2:] == ("source", "data")


@pytest.mark.parametrize("unknown_fields", ["drop", "pass"])
@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("door", DOORS)
async def test_long_text_at_any_place_is_counted_refused_or_not_sent(door: str, lane: str, unknown_fields: str) -> None:
    body, read = DOORS[door]
    one = deployment(LANES[lane], unknown_fields)
    before = await outcome(read, body, one)
    if before is None:  # this lane cannot do all of it: what it can do
        body = {name: value for name, value in copy.deepcopy(body).items() if name not in REFUSED_BY_SOME}
        for turn in body["messages"]:
            turn.pop("name", None)
        before = await outcome(read, body, one)
    assert before is not None
    texts: tuple[Any, ...] = (LONG, {"type": "text", "zz": LONG}, [LONG], {LONG: 1})
    for path, how in places(body):
        if path == ("model",) or path == ("provider",) or is_image(path):
            continue
        for text in texts:
            after = await outcome(read, with_text(body, path, how, text), one)
            if after is None:
                continue
            more = after[1].count("Zq") - before[1].count("Zq")
            assert after[0] - before[0] >= 2 * more - len(LONG) // 100, (path, how, more, after[0] - before[0])


#: What not every lane can do; without it each of them takes the bodies above.
REFUSED_BY_SOME = ("response_format", "chat_template_kwargs", "documents", "text", "tool_choice")


@pytest.mark.parametrize("lane", LANES)
async def test_a_request_that_is_refused_for_an_unknown_field_names_it(lane: str) -> None:
    one = deployment(LANES[lane], "refuse")
    if one.native is None:
        return
    door = {"openai.chat": "chat", "anthropic.messages": "messages"}[one.native]
    body, read = DOORS[door]
    with pytest.raises(KaixuError) as refused:
        with_known_fields(read(copy.deepcopy(body) | {"zz": 1}, one), one)
    assert refused.value.field == "zz"


async def test_what_is_dropped_is_named_and_what_is_allowed_passes() -> None:
    one = deployment(LANES["openai"])
    body = CHAT | {"zz": 1, "service_tier": "priority"}
    with pytest.raises(KaixuError) as refused:
        with_known_fields(parse_chat_request(body, one, most_messages=100), one)
    assert refused.value.field == "service_tier"
    one = msgspec.structs.replace(one, allow=frozenset({"service_tier"}))
    request = with_known_fields(parse_chat_request(body, one, most_messages=100), one)
    assert (request.dropped, request.allowed) == (("zz",), ("service_tier",))
    assert '"service_tier": "priority"' in await sent(LANES["openai"], request)


async def test_an_operators_extra_body_counts() -> None:
    plain, extra = (deployment(LANES[name]) for name in ("openai", "openai-extra"))
    request = parse_chat_request(CHAT, plain, most_messages=100)
    assert most_input_tokens(request, extra) - most_input_tokens(request, plain) >= 300


@pytest.mark.parametrize("door", ["chat", "responses", "messages"])
def test_urls_of_images_are_bounded(door: str) -> None:
    body, read = DOORS[door]
    one = deployment(LANES["openai"])
    long_url = "https://x.test/" + "a" * 10_000
    text = json.dumps(body).replace(IMAGE, long_url)
    if door == "messages":
        source = '{"type": "base64", "media_type": "image/png", "data": "AAAA"}'
        text = text.replace(source, json.dumps({"type": "url", "url": long_url}))
    with pytest.raises(KaixuError) as refused:
        most_input_tokens(read(json.loads(text), one), one)
    assert refused.value.status == 422
