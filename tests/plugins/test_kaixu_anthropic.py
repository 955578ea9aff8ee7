"""The anthropic lane: its requests, refusals, parsed responses, and failures of the vendor."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from anthropic.types import RawMessageStreamEvent
from anthropic.types.message_create_params import MessageCreateParamsStreaming
from kaixu_anthropic import Anthropic, AnthropicOptions
from pydantic import TypeAdapter

from kaixu.metering.features import refuse_unsupported
from kaixu.plugin import (
    ChatDelta,
    ChatEvent,
    ChatRequest,
    Finish,
    ImagePart,
    Invalid,
    Message,
    Native,
    NativeEvent,
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
    UpstreamBusy,
    UpstreamError,
    Usage,
)
from kaixu.plugin.testing import Answer, FakeWire, check_lane, event_stream, json_answer

SECRET = "words of the vendor that no client may see"
REQUEST, EVENT = TypeAdapter[Any](MessageCreateParamsStreaming), TypeAdapter[Any](RawMessageStreamEvent)
HELLO = Message("user", (TextPart("Hello"),))
SAID = [{"type": "text", "text": "Hello"}]
RESULT = ToolResultPart("c1", (TextPart("Hello"), ImagePart("https://x.test/a"), TextPart("")), is_error=True)
BODY = {"messages": [{"role": "user", "content": SAID}]}
PLAIN = BODY | {"model": "vendor-model", "max_tokens": 3000, "stream": True}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
AUTO, ONE_BY_ONE = {"type": "auto"}, {"disable_parallel_tool_use": True}
TOOL = {"tools": [{"name": "t", "input_schema": {"type": "object"}}]}
URL = {"type": "image", "source": {"type": "url", "url": "https://x.test/a"}}
JPEG = {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "AA=="}}
UNSAYABLE = (ToolCallPart("c1", "now", "{"), ToolCallPart("c1", "now", "[]"), ImagePart("data:,AA"), TextPart(" "))
REASONS = {"end_turn": "stop", "": "stop", "max_tokens": "length", "model_context_window_exceeded": "length"}


def lane(**options: Any) -> Anthropic:
    return Anthropic(AnthropicOptions.model_validate({"api_key": "sk-test", **options}))


def make_request(*messages: Message, model: str = "vendor-model", **fields: Any) -> ChatRequest:
    return ChatRequest(model, messages or (HELLO,), fields.pop("max_tokens", 3000), **fields)


def native(**body: Any) -> ChatRequest:
    return make_request(native=Native("anthropic.messages", BODY | body))


def stream(*events: Any, broken: Exception | None = None) -> Answer:
    return event_stream(*events, done=False, broken=broken)


def start(**usage: int) -> dict[str, Any]:
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": usage}
    return {"type": "message_start", "message": message}


def block(at: int, kind: str, *pieces: str, token: str = "", **fields: Any) -> list[dict[str, Any]]:
    """A content block from its start to its stop."""
    delta, field = (f"{kind}_delta", kind) if kind in ("text", "thinking") else ("input_json_delta", "partial_json")
    deltas = [{"type": delta, field: piece} for piece in pieces]
    deltas += [{"type": "signature_delta", "signature": token}] if token else []
    begin = {"type": "content_block_start", "index": at, "content_block": {"type": kind, **fields}}
    received = [{"type": "content_block_delta", "index": at, "delta": delta} for delta in deltas]
    return [begin, *received, {"type": "content_block_stop", "index": at}]


def end(reason: str = "end_turn", sequence: str | None = None, **usage: Any) -> list[dict[str, Any]]:
    delta = {"stop_reason": reason, "stop_sequence": sequence}
    return [{"type": "message_delta", "delta": delta, "usage": usage}, {"type": "message_stop"}]


async def sent_body(request: ChatRequest, **options: Any) -> dict[str, Any]:
    """The body sent for `request`; the official SDK accepts it, too."""
    wire, opened = FakeWire(stream(*end())), lane(**options)
    refuse_unsupported(opened, request)
    await check_lane(opened, request, wire)
    body: dict[str, Any] = json.loads(wire.requests[0].content)
    if request.native is None:
        REQUEST.validate_python(body)
    return body


async def answered(*events: Any) -> list[ChatEvent]:
    return await check_lane(lane(), make_request(), FakeWire(stream(*events)))


async def test_every_field_goes_to_the_vendor_under_its_name() -> None:
    sampling: dict[str, Any] = {"temperature": 0.0, "top_p": 0.5, "top_k": 7}
    tools: dict[str, Any] = {"tool_choice": "required", "parallel_tool_calls": False}
    tools["tools"] = (Tool("weather", "Says the weather", SCHEMA, strict=True), Tool("now"))
    rest: dict[str, Any] = {"stop": ("END",), "response_format": ResponseFormat(SCHEMA), "user": "someone"}
    turns = (Message("system", (TextPart("Be kind."),)), HELLO, Message("developer", (TextPart("Now."),)))
    weather = {"name": "weather", "description": "Says the weather", "input_schema": SCHEMA, "strict": True}
    assert await sent_body(make_request(*turns, **sampling, **tools, **rest)) == PLAIN | sampling | {
        "system": "Be kind.\n\nNow.",
        "stop_sequences": ["END"],
        "tools": [weather, {"name": "now", "input_schema": {"type": "object"}}],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
        "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
        "metadata": {"user_id": "someone"},
    }


def thinks(how: str | int, effort: str | None = None) -> dict[str, Any]:
    thinking = {"type": "enabled", "budget_tokens": how} if isinstance(how, int) else {"type": how}
    return {"thinking": thinking} | ({} if effort is None else {"output_config": {"effort": effort}})


@pytest.mark.parametrize(
    ("model", "fields", "goes_out"),
    [
        ("claude-opus-5", {"reasoning": Reasoning("minimal")}, thinks("adaptive", "low")),
        ("claude-opus-5", {"reasoning": Reasoning(budget_tokens=90_000)}, thinks("adaptive", "high")),
        ("claude-fable-5-2", {"reasoning": Reasoning("max", 1024)}, thinks("adaptive", "max")),
        ("claude-haiku-5-5", {"reasoning": Reasoning(budget_tokens=4000)}, thinks("adaptive", "medium")),
        ("claude-opus-5", {"reasoning": Reasoning("none")}, thinks("disabled")),
        ("claude-haiku-4-5-20251001", {"reasoning": Reasoning("high")}, thinks(1500)),
        ("claude-sonnet-4-20250514", {"reasoning": Reasoning("minimal")}, thinks(1024)),
        ("eu.anthropic.claude-opus-4.5-v1:0", {"reasoning": Reasoning("low", 2999)}, thinks(2999)),
        ("another-vendors", {"reasoning": Reasoning("high")}, thinks("adaptive", "high")),
        ("another-vendors", {"reasoning": Reasoning(budget_tokens=1024)}, thinks(1024)),
        ("claude-opus-5", {"reasoning": Reasoning(), "temperature": 1.0, "top_p": 1.0}, {}),
        ("claude-opus-4-6", {"temperature": 0.5}, {"temperature": 0.5}),
        ("m", {"tool_choice": "none", "parallel_tool_calls": False}, {"tool_choice": {"type": "none"}}),
        ("m", {"tool_choice": ToolName("now")}, {"tool_choice": {"type": "tool", "name": "now"}}),
        ("m", {"tools": (Tool("t"),), "parallel_tool_calls": False}, TOOL | {"tool_choice": AUTO | ONE_BY_ONE}),
        ("m", {"tool_choice": "auto", "parallel_tool_calls": True}, {"tool_choice": AUTO}),
        ("m", {"parallel_tool_calls": False}, {}),
    ],
)
async def test_each_model_gets_the_fields_that_it_supports(model: str, fields: Any, goes_out: dict[str, Any]) -> None:
    assert await sent_body(make_request(model=model, **fields)) == PLAIN | {"model": model} | goes_out


@pytest.mark.parametrize(
    ("part", "block"),
    [
        (ImagePart("https://x.test/a", "low"), URL),
        (ImagePart("data:image/jpg;x=y;base64,AA=="), JPEG),
        (TextPart(" \n"), None),
        (ReasoningPart("hm", "token"), {"type": "thinking", "thinking": "hm", "signature": "token"}),
        (ReasoningPart("", "token"), {"type": "redacted_thinking", "data": "token"}),
        (ReasoningPart("hm"), None),
        (ToolCallPart("a.b", "now", ' {"a": 1}'), {"type": "tool_use", "id": "a_b", "name": "now", "input": {"a": 1}}),
        (ToolCallPart("c1", "now", ""), {"type": "tool_use", "id": "c1", "name": "now", "input": {}}),
        (ToolResultPart("a.b", ()), {"type": "tool_result", "tool_use_id": "a_b", "content": []}),
        (RESULT, {"type": "tool_result", "tool_use_id": "c1", "content": [*SAID, URL], "is_error": True}),
    ],
)
async def test_parts_become_blocks(part: Any, block: Any) -> None:
    body = await sent_body(make_request(Message("user", (part, *HELLO.parts))))
    assert body["messages"] == [{"role": "user", "content": ([] if block is None else [block]) + SAID}]


async def test_turns_alternate_and_results_come_first() -> None:
    call, result = ToolCallPart("c1", "now", "{}"), ToolResultPart("c1", (TextPart("late"),))
    later = (Message("tool", (result,)), Message("assistant", (TextPart(""),)), HELLO)
    body = await sent_body(
        make_request(HELLO, Message("assistant", (call,)), HELLO, Message("system", HELLO.parts), *later)
    )
    received = [(turn["role"], [block["type"] for block in turn["content"]]) for turn in body["messages"]]
    assert received == [("user", ["text"]), ("assistant", ["tool_use"]), ("user", ["tool_result", "text", "text"])]


async def test_hidden_reasoning_is_sent_back_unchanged() -> None:
    (received, *_) = await answered(*block(0, "thinking", token="token"), *end())
    assert isinstance(received, ReasoningDelta)
    body = await sent_body(make_request(Message("assistant", (ReasoningPart(received.text, received.opaque),))))
    assert body["messages"][0]["content"] == [{"type": "thinking", "thinking": "", "signature": "token"}]


async def test_it_asks_the_operators_vendor_with_the_operators_credential() -> None:
    wire = FakeWire(stream(*end()))
    opened = lane(base_url="https://vendor.test/claude/", beta=["a-1", "b-2"], extra_headers={"X-Title": "kaixu"})
    await check_lane(opened, make_request(), wire)
    assert (wire.requests[0].method, str(wire.requests[0].url)) == ("POST", "https://vendor.test/claude/v1/messages")
    ours = {"x-api-key": "sk-test", "anthropic-version": "2023-06-01", "content-type": "application/json"}
    theirs = {"user-agent": "kaixu", "anthropic-beta": "a-1,b-2", "x-title": "kaixu"}
    assert (ours | theirs).items() <= dict(wire.requests[0].headers).items()


@pytest.mark.parametrize("options", [{}, {"api_key": "k", "x": 1}, {"api_key": "k", "base_url": "file:///etc"}])
def test_wrong_options_are_refused_and_secrets_do_not_show(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        AnthropicOptions.model_validate(options)
    assert "sk-secret" not in repr(AnthropicOptions.model_validate({"api_key": "sk-secret"}))


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("temperature", {"temperature": 1.5}),
        ("temperature", {"temperature": 0.5, "model": "claude-opus-4-7"}),
        ("top_p", {"top_p": 0.5, "model": "claude-sonnet-5"}),
        ("top_k", {"top_k": 1, "model": "claude-fable-5-2"}),
        ("stop", {"stop": ("END", "\n")}),
        ("response_format", {"response_format": ResponseFormat()}),
        ("reasoning", {"reasoning": Reasoning(budget_tokens=1023)}),
        ("reasoning", {"reasoning": Reasoning(budget_tokens=3000), "max_tokens": 3000}),
        ("reasoning", {"reasoning": Reasoning("high"), "model": "claude-opus-4-5", "max_tokens": 1024}),
        ("tool_choice", {"tool_choice": "required", "tools": (Tool("now"),), "reasoning": Reasoning("low")}),
        ("seed", {"seed": 7}),
        ("images", {"messages": (Message("system", (ImagePart("https://x.test/a"),)), HELLO)}),
        *(("messages", {"messages": (Message("assistant", (part,)),)}) for part in UNSAYABLE),
    ],
)
def test_what_it_cannot_say_is_refused_by_name(field: str, fields: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as caught:
        refuse_unsupported(lane(), make_request(*fields.pop("messages", ()), **fields))
    assert caught.value.field == field


def marked(**cache: str) -> dict[str, Any]:
    return {"type": "text", "text": "a", "cache_control": {"type": "ephemeral", **cache}}


def turn(*blocks: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [{"type": "tool_result", "content": list(blocks)}, *blocks]}]}


async def test_a_native_request_goes_out_with_every_field_but_those_that_cost() -> None:
    body = {"brand_new": {"deep": [1]}, "seed": 1, "system": [marked(ttl="1h")]}
    assert await sent_body(native(**body, model="ours", max_tokens=9999, stream=False), hour_cache=True) == PLAIN | body


async def test_a_native_request_is_answered_natively_too() -> None:
    known = block(0, "text", "a")
    sent = [start(input_tokens=3), {"type": "ping"}, *known, {"type": "new", "index": {}}, *end(output_tokens=1)]
    events = await check_lane(lane(), native(), FakeWire(stream(*sent)))
    assert [event.data for event in events if isinstance(event, NativeEvent)] == sent
    assert events[:2] == [NativeEvent(sent[0]), Usage(3)]
    assert events[-4:] == [NativeEvent(sent[-2]), Usage(3, 1), NativeEvent(sent[-1]), Finish("stop")]


async def test_events_come_in_order_with_usage_and_one_finish_last() -> None:
    sent = [
        start(input_tokens=9, output_tokens=2, cache_read_input_tokens=4, cache_creation_input_tokens=5),
        *block(0, "thinking", "Gre", "et.", token="token", thinking="", signature=""),
        *block(1, "redacted_thinking", data="blob"),
        *block(2, "text", "Hel", "", "lo", text=""),
        *end("stop_sequence", "END", output_tokens=7, output_tokens_details={"thinking_tokens": 3}),
    ]
    for event in sent:
        EVENT.validate_python(event)
    assert await answered(*sent) == [
        Usage(18, 0, cached_input_tokens=4, cache_write_tokens=5),
        *(ReasoningDelta("Gre"), ReasoningDelta("et."), ReasoningDelta("", "token"), ReasoningDelta("", "blob")),
        *(ChatDelta("Hel"), ChatDelta("lo")),
        Usage(18, 7, cached_input_tokens=4, cache_write_tokens=5, reasoning_tokens=3),
        Finish("stop", "END"),
    ]


async def test_tool_calls_are_counted_and_come_in_pieces() -> None:
    first = block(1, "tool_use", "", '{"a"', ":1}", id="c1", name="add", input={})
    between = block(2, "server_tool_use", '{"q": 1}', id="s1", name="web_search", input={})
    second = block(3, "tool_use", id="c2", name="now", input={})
    assert await answered(*block(0, "text", "Well."), *first, *between, *second, *end("tool_use")) == [
        ChatDelta("Well."),
        *(ToolCallDelta(0, "c1", "add"), ToolCallDelta(0, arguments='{"a"'), ToolCallDelta(0, arguments=":1}")),
        *(ToolCallDelta(1, "c2", "now"), ToolCallDelta(1, arguments="{}")),
        Finish("tool_calls"),
    ]


async def test_what_is_not_known_is_passed_over() -> None:
    new = {"type": "content_block_delta", "index": 0, "delta": {"type": "new_delta", "text": 7, "thinking": "x"}}
    odd = [{"type": "content_block_start", "content_block": {"type": "new"}}, {"type": "new"}, {}, {"delta": 7}]
    assert await answered(new, *odd, *block(0, "text", "a"), *end("new")) == [ChatDelta("a"), Finish("new")]


@pytest.mark.parametrize(("reason", "received"), [*REASONS.items(), ("refusal", "content_filter"), ("new", "new")])
async def test_finish_reasons_are_translated(reason: str, received: str) -> None:
    assert await answered(*end(reason)) == [Finish(received)]


@pytest.mark.parametrize(
    ("first", "last", "usage"),
    [
        ({"input_tokens": 0}, {"input_tokens": 10, "output_tokens": 5}, Usage(10, 5)),
        ({"input_tokens": 10}, {"input_tokens": 0, "output_tokens": 5}, Usage(10, 5)),
        ({"input_tokens": 90}, {"input_tokens": 9, "cache_read_input_tokens": 81}, Usage(90, 0, 81)),
        ({"cache_creation_input_tokens": 9}, {"cache_creation_input_tokens": 0}, Usage(9, 0, 0, 9)),
        ({"cache_read_input_tokens": 9}, {"cache_read_input_tokens": None, "output_tokens": "x"}, Usage(9, 0, 9)),
        ({}, {}, None),
    ],
)
async def test_totals_never_fall_however_a_vendor_counts(first: Any, last: Any, usage: Usage | None) -> None:
    assert (await answered(start(**first), *end(**last)))[-2:-1] == ([] if usage is None else [usage])


async def test_a_whole_answer_becomes_events() -> None:
    spoken = [{"type": "thinking", "thinking": "Hm.", "signature": "token"}, {"type": "text", "text": "Hello"}]
    content = [*spoken, {"type": "tool_use", "id": "c1", "name": "add", "input": {"a": 1}}]
    answer = start(input_tokens=3, output_tokens=2)["message"] | {"content": content, "stop_reason": "tool_use"}
    events = await check_lane(lane(), native(), FakeWire(json_answer(answer)))
    for event in [event.data for event in events if isinstance(event, NativeEvent)]:
        EVENT.validate_python(event)
    assert [event for event in events if not isinstance(event, NativeEvent)] == [
        *(Usage(3), ReasoningDelta("Hm."), ReasoningDelta("", "token"), ChatDelta("Hello")),
        *(ToolCallDelta(0, "c1", "add"), ToolCallDelta(0, arguments='{"a":1}'), Usage(3, 2), Finish("tool_calls")),
    ]


def failure(kind: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": SECRET}}


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (stream(start(), failure("api_error")), "reported an error"),
        (json_answer(failure("api_error")), "reported an error"),
        (stream(start(), '{"type": "message_stop", "' + SECRET), "cannot be read"),
        (stream(*block(0, "text", "a"), failure("overloaded_error")), "rate limit is reached"),
        (stream(failure("rate_limit_error")), "rate limit is reached"),
        (Answer(200, {"content-type": "application/json"}, [SECRET.encode()]), "cannot be read"),
        (Answer(200, {"content-type": "text/event-stream"}, [b'data: {"a": "\xff"}\n\n']), "broke off"),
        (stream(*block(0, "text", "a")), "broke off"),
        (json_answer({}), "broke off"),
        (Answer(200, {"content-type": "text/html"}, [b"<html>" + SECRET.encode()]), "broke off"),
    ],
)
@pytest.mark.parametrize("chat_request", [make_request(), native()], ids=["ours", "native"])
async def test_a_failing_vendor_is_an_upstream_error_without_its_text(
    answer: Any, says: str, chat_request: Any
) -> None:
    wire = FakeWire(answer)
    with pytest.raises(UpstreamError, match=says) as caught:
        await check_lane(lane(), chat_request, wire)
    assert (SECRET in caught.value.message, wire.open) == (False, 0)
    assert isinstance(caught.value, UpstreamBusy) == ("limit" in says)


@pytest.mark.parametrize("received", [end(), end()[:1]], ids=["all", "no message_stop"])
async def test_a_connection_that_breaks_after_the_finish_reason_is_no_failure(received: list[Any]) -> None:
    wire = FakeWire(stream(*received, broken=httpx.ReadTimeout("still there")), stream(*received))
    assert await check_lane(lane(), make_request(), wire) == [Finish("stop")]
    assert await check_lane(lane(), make_request(), wire) == [Finish("stop")]
