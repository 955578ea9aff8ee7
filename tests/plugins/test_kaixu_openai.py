"""The openai lane: its requests, parsed responses, and failures of the vendor."""

from __future__ import annotations

import base64
import json
import struct
from array import array
from typing import Any

import httpx
import pytest
from aiohttp import web
from kaixu_local import Local
from kaixu_openai import OpenAI, OpenAIOptions

from kaixu.metering.connections import open_transport
from kaixu.metering.wire import TicketWire, WireLimits
from kaixu.plugin import (
    ChatDelta,
    ChatEvent,
    ChatRequest,
    Embeddings,
    EmbedRequest,
    EventBatches,
    Finish,
    ImagePart,
    Message,
    Native,
    NativeEvent,
    Part,
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
    UpstreamRejected,
    Usage,
)
from kaixu.plugin.testing import Answer, FakeWire, check_lane, event_stream, json_answer

SECRET = "words of the vendor that no client may see"


def lane(**options: Any) -> OpenAI:
    return OpenAI(OpenAIOptions.model_validate({"api_key": "sk-test", **options}))


def make_request(*parts: Part, role: Any = "user", **fields: Any) -> ChatRequest:
    message = Message(role, parts or (TextPart("Hello"),))
    return ChatRequest("vendor-model", (message,), fields.pop("max_tokens", 10), **fields)


async def sent_body(request: ChatRequest, **options: Any) -> dict[str, Any]:
    """The body sent for `request`."""
    wire = FakeWire(event_stream(finish("stop")))
    await check_lane(lane(**options), request, wire)
    body: dict[str, Any] = json.loads(wire.requests[0].content)
    return body


async def answered(*chunks: object, done: bool = True) -> list[ChatEvent]:
    """The events of the lane for a stream of these chunks."""
    return await check_lane(lane(), make_request(), FakeWire(event_stream(*chunks, done=done)))


def delta(**fields: Any) -> dict[str, Any]:
    return {"id": "x", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": fields}]}


def finish(reason: str, **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}], **fields}


# What goes out


async def test_a_plain_request_has_no_fields_that_were_not_set() -> None:
    assert await sent_body(make_request()) == {
        "model": "vendor-model",
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_completion_tokens": 10,
    }


async def test_every_field_goes_to_the_vendor_under_its_name() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    body = await sent_body(
        make_request(
            temperature=0.0,
            top_p=0.5,
            stop=("END", "\n"),
            seed=7,
            tools=(Tool("weather", "Says the weather", schema), Tool("now")),
            tool_choice="required",
            response_format=ResponseFormat(),
            reasoning=Reasoning("low"),
            user="someone",
        ),
        max_tokens_field="max_tokens",
    )
    assert body == {
        "model": "vendor-model",
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 10,
        "temperature": 0.0,
        "top_p": 0.5,
        "stop": ["END", "\n"],
        "seed": 7,
        "tools": [
            {
                "type": "function",
                "function": {"name": "weather", "description": "Says the weather", "parameters": schema},
            },
            {"type": "function", "function": {"name": "now"}},
        ],
        "tool_choice": "required",
        "response_format": {"type": "json_object"},
        "reasoning_effort": "low",
        "user": "someone",
    }


@pytest.mark.parametrize(
    ("fields", "goes_out"),
    [
        ({"tool_choice": ToolName("now")}, {"tool_choice": {"type": "function", "function": {"name": "now"}}}),
        (
            {"tools": (Tool("t", strict=True),)},
            {"tools": [{"type": "function", "function": {"name": "t", "strict": True}}]},
        ),
        (
            {"response_format": ResponseFormat({"type": "object"}, "person", "somebody", strict=True)},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {
                        "name": "person",
                        "schema": {"type": "object"},
                        "description": "somebody",
                        "strict": True,
                    },
                }
            },
        ),
        ({"reasoning": Reasoning(budget_tokens=0)}, {"reasoning_effort": "none"}),
        ({"reasoning": Reasoning(budget_tokens=1024)}, {"reasoning_effort": "low"}),
        ({"reasoning": Reasoning(budget_tokens=8192)}, {"reasoning_effort": "medium"}),
        ({"reasoning": Reasoning(budget_tokens=9000)}, {"reasoning_effort": "high"}),
        ({"reasoning": Reasoning("max")}, {"reasoning_effort": "xhigh"}),
        (
            {"presence_penalty": 0.5, "frequency_penalty": -1.0, "parallel_tool_calls": False},
            {"presence_penalty": 0.5, "frequency_penalty": -1.0, "parallel_tool_calls": False},
        ),
    ],
)
async def test_what_came_in_another_protocol_is_translated(fields: Any, goes_out: Any) -> None:
    assert await sent_body(make_request(**fields)) == await sent_body(make_request()) | goes_out


async def test_a_native_request_goes_out_with_every_field_but_those_that_cost() -> None:
    body = {
        "model": "ours",
        "messages": [{"role": "user", "content": "Hello", "from_tomorrow": 1}],
        "n": 2,
        "logit_bias": {"50256": -100},
        "brand_new": {"deep": [1]},
        "max_tokens": 9999,
        "stream": False,
    }
    assert await sent_body(make_request(native=Native("openai.chat", body), n=2)) == {
        "model": "vendor-model",
        "messages": [{"role": "user", "content": "Hello", "from_tomorrow": 1}],
        "n": 2,
        "logit_bias": {"50256": -100},
        "brand_new": {"deep": [1]},
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_completion_tokens": 10,
    }


async def test_a_native_request_is_answered_natively_too() -> None:
    request = make_request(native=Native("openai.chat", {"messages": []}))
    chunks = [delta(content="a") | {"system_fingerprint": "x"}, finish("stop")]
    events = await check_lane(lane(), request, FakeWire(event_stream(*chunks)))
    assert events == [NativeEvent(chunks[0]), ChatDelta("a"), NativeEvent(chunks[1]), Finish("stop")]


def in_one_piece(*chunks: object) -> FakeWire:
    """A wire with a stream whose events come together."""
    answer = event_stream(*chunks)
    return FakeWire(Answer(200, {"content-type": "text/event-stream"}, [b"".join(answer.chunks)]))


async def test_what_comes_before_an_error_in_the_same_piece_of_the_network_is_passed_on() -> None:
    events = lane().chat(
        make_request(), in_one_piece(delta(content="a"), delta(content="b"), {"error": {"message": SECRET}})
    )
    assert [await anext(events), await anext(events)] == [ChatDelta("a"), ChatDelta("b")]
    with pytest.raises(UpstreamError):
        await anext(events)


async def test_events_that_came_together_can_be_taken_together() -> None:
    wire = in_one_piece(delta(content="a"), delta(content="b"), delta(content="c"), finish("stop"))
    events = lane().chat(make_request(), wire)
    assert isinstance(events, EventBatches)
    assert await anext(events) == ChatDelta("a")
    assert events.take_ready() == [ChatDelta("b"), ChatDelta("c")]
    assert [one async for one in events.batches] == [[Finish("stop")]]
    assert events.take_ready() == []


async def test_the_operators_own_fields_go_with_every_call() -> None:
    assert await sent_body(make_request(), extra_body={"transforms": []}) == await sent_body(make_request()) | {
        "transforms": []
    }


@pytest.mark.parametrize(
    ("message", "turns"),
    [
        (
            Message("user", (TextPart("Look: "), ImagePart("https://x.test/a.png"))),
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "Look: "},
                        {"type": "image_url", "image_url": {"url": "https://x.test/a.png"}},
                    ],
                }
            ],
        ),
        (
            Message("user", (ImagePart("data:image/png;base64,AA==", "low"),)),
            [
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "image_url",
                            "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"},
                        }
                    ],
                }
            ],
        ),
        (
            Message("assistant", (TextPart("Let me see."), ToolCallPart("c1", "weather", '{"city":"Rome"}'))),
            [
                {
                    "role": "assistant",
                    "content": "Let me see.",
                    "tool_calls": [
                        {
                            "id": "c1",
                            "type": "function",
                            "function": {"name": "weather", "arguments": '{"city":"Rome"}'},
                        }
                    ],
                }
            ],
        ),
        (
            Message("assistant", (ToolCallPart("c1", "now", "{}"),)),
            [
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "now", "arguments": "{}"}}],
                }
            ],
        ),
        (
            Message(
                "tool",
                (ToolResultPart("c1", (TextPart("sunny"),)), ToolResultPart("c2", (TextPart("late"),), is_error=True)),
            ),
            [
                {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
                {"role": "tool", "tool_call_id": "c2", "content": "late"},
            ],
        ),
        (
            Message("user", (ToolResultPart("c1", (TextPart("sunny"),)), TextPart("And now?"))),
            [
                {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
                {"role": "user", "content": [{"type": "text", "text": "And now?"}]},
            ],
        ),
        (Message("assistant", ()), [{"role": "assistant", "content": ""}]),
        (
            Message("assistant", (ReasoningPart("2+2", "token"), TextPart("4"))),
            [{"role": "assistant", "content": "4"}],
        ),
        (
            Message("user", (TextPart("Hi"),), "ada"),
            [{"role": "user", "content": "Hi", "name": "ada"}],
        ),
    ],
    ids=[
        "image",
        "image with detail",
        "text and call",
        "call alone",
        "results",
        "result and text",
        "nothing",
        "reasoning stays here",
        "name",
    ],
)
async def test_messages_become_turns(message: Message, turns: list[dict[str, Any]]) -> None:
    body = await sent_body(ChatRequest("vendor-model", (message,), 10))
    assert body["messages"] == turns


async def test_it_asks_the_operators_vendor_with_the_operators_credential() -> None:
    wire = FakeWire(event_stream(finish("stop")))
    opened = lane(
        base_url="https://vendor.test/openai/v1/",
        organization="org-1",
        project="proj-1",
        extra_headers={"X-Title": "kaixu", "user-agent": "ours"},
    )
    await check_lane(opened, make_request(), wire)
    request = wire.requests[0]
    assert str(request.url) == "https://vendor.test/openai/v1/chat/completions"
    headers = {name: value for name, value in request.headers.items() if name != "content-length"}
    assert headers == {
        "host": "vendor.test",
        "authorization": "Bearer sk-test",
        "content-type": "application/json",
        "accept": "text/event-stream, application/json",
        "user-agent": "ours",
        "openai-organization": "org-1",
        "openai-project": "proj-1",
        "x-title": "kaixu",
    }


@pytest.mark.parametrize(
    "options",
    [{}, {"api_key": "k", "api_kee": "k"}, {"api_key": "k", "base_url": "file:///etc"}],
    ids=["no key", "unknown field", "not http"],
)
def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        OpenAIOptions.model_validate(options)


def test_secrets_do_not_show() -> None:
    options = OpenAIOptions.model_validate({"api_key": "sk-secret", "extra_headers": {"x-key": "sk-secret"}})
    assert "sk-secret" not in repr(options)


# What comes back


async def test_events_come_in_order_with_usage_and_one_finish_last() -> None:
    usage = {
        "prompt_tokens": 9,
        "completion_tokens": 5,
        "total_tokens": 14,
        "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    assert await answered(
        delta(role="assistant", content="", refusal=None),
        delta(reasoning_content="Greet."),
        delta(content="Hel"),
        delta(content="lo"),
        finish("stop"),
        {"choices": [], "usage": usage},
    ) == [
        ReasoningDelta("Greet."),
        ChatDelta("Hel"),
        ChatDelta("lo"),
        Usage(9, 5, cached_input_tokens=4, reasoning_tokens=3),
        Finish("stop"),
    ]


async def test_tool_calls_come_in_pieces() -> None:
    def call(index: int, **fields: Any) -> dict[str, Any]:
        return delta(tool_calls=[{"index": index, **fields}])

    assert await answered(
        call(0, id="c1", type="function", function={"name": "add", "arguments": ""}),
        call(0, function={"arguments": '{"a"'}),
        call(0, function={"arguments": ":1}"}),
        call(1, id="c2", function={"name": "now", "arguments": "{}"}),
        finish("tool_calls"),
    ) == [
        ToolCallDelta(0, "c1", "add", ""),
        ToolCallDelta(0, None, None, '{"a"'),
        ToolCallDelta(0, None, None, ":1}"),
        ToolCallDelta(1, "c2", "now", "{}"),
        Finish("tool_calls"),
    ]


@pytest.mark.parametrize(
    ("chunks", "events"),
    [
        ([delta(reasoning="hm"), finish("stop")], [ReasoningDelta("hm"), Finish("stop")]),
        ([delta(refusal="No."), finish("stop")], [ChatDelta("No."), Finish("stop")]),
        ([delta(content="a"), finish("stop"), finish("stop", usage={})], [ChatDelta("a"), Finish("stop")]),
        ([delta(content="a")], [ChatDelta("a"), Finish("stop")]),
        (
            [finish("length", usage={"prompt_tokens": 1, "completion_tokens": None, "prompt_tokens_details": None})],
            [Usage(1), Finish("length")],
        ),
        ([{"choices": None, "usage": None}, finish("eos_token")], [Finish("eos_token")]),
        ([{"choices": [], "prompt_filter_results": [{}]}, finish("content_filter")], [Finish("content_filter")]),
    ],
    ids=["reasoning", "refusal", "finish twice", "done without finish", "nulls", "no choices", "azure"],
)
async def test_vendors_that_differ_are_understood(chunks: list[object], events: list[ChatEvent]) -> None:
    assert await answered(*chunks) == events


async def test_a_stream_that_finished_needs_no_done() -> None:
    assert await answered(delta(content="a"), finish("stop"), done=False) == [ChatDelta("a"), Finish("stop")]


async def test_a_whole_answer_becomes_events() -> None:
    calls = [
        {"id": "c1", "type": "function", "function": {"name": "now", "arguments": "{}"}},
        {"id": "c2", "type": "function", "function": {"name": "add", "arguments": "[]"}},
    ]
    message = {"role": "assistant", "content": "Hello", "tool_calls": calls}
    answer = {
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2},
    }
    assert await check_lane(lane(), make_request(), FakeWire(json_answer(answer))) == [
        ChatDelta("Hello"),
        ToolCallDelta(0, "c1", "now", "{}"),
        ToolCallDelta(1, "c2", "add", "[]"),
        Usage(3, 2),
        Finish("tool_calls"),
    ]


# Bad days


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (event_stream(delta(content="a"), {"error": {"message": SECRET}}), "reported an error"),
        (event_stream(delta(content="a"), '{"choices": [{"del' + SECRET), "cannot be read"),
        (event_stream('{"choices": 7}'), "cannot be read"),
        (event_stream(delta(content="a"), done=False), "broke off"),
        (event_stream(done=False), "broke off"),
        (Answer(200, {"content-type": "text/html"}, [b"<html>" + SECRET.encode()]), "broke off"),
        (json_answer({"error": {"message": SECRET}}), "reported an error"),
        (json_answer({}), "sent an empty answer"),
        (Answer(200, {"content-type": "application/json"}, [SECRET.encode()]), "cannot be read"),
        (Answer(200, {"content-type": "text/event-stream"}, [b'data: "\xff\xfe"\n\n']), "cannot be read"),
    ],
    ids=[
        "error in the stream",
        "half a chunk",
        "another shape",
        "cut",
        "empty",
        "a web page",
        "error as JSON",
        "nothing as JSON",
        "nonsense as JSON",
        "not UTF-8",
    ],
)
async def test_a_failing_vendor_is_an_upstream_error_without_its_text(answer: Answer, says: str) -> None:
    wire = FakeWire(answer)
    with pytest.raises(UpstreamError, match=says) as caught:
        await check_lane(lane(), make_request(), wire)
    assert SECRET not in caught.value.message
    assert wire.open == 0


async def test_events_before_the_cut_are_delivered() -> None:
    wire = FakeWire(event_stream(delta(content="half"), done=False))
    stream = lane().chat(make_request(), wire)
    events = [await anext(stream)]
    with pytest.raises(UpstreamError):
        await anext(stream)
    assert events == [ChatDelta("half")]


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, UpstreamRejected), (429, UpstreamBusy), (500, UpstreamError)],
)
async def test_a_refusal_goes_through(status: int, error: type[Exception]) -> None:
    with pytest.raises(error):
        await check_lane(lane(), make_request(), FakeWire(json_answer({"error": {}}, status)))


# Embeddings


async def test_vectors_come_in_the_order_of_the_inputs() -> None:
    answer = {
        "data": [{"index": 1, "embedding": [0, 1.5]}, {"index": 0, "embedding": [1.0, 0.25]}],
        "usage": {"prompt_tokens": 6, "total_tokens": 6},
    }
    wire = FakeWire(json_answer(answer))
    got = await lane().embed(EmbedRequest("embedder", ("a", "b"), dimensions=2), wire)
    assert got == Embeddings(([1.0, 0.25], [0.0, 1.5]), Usage(input_tokens=6))
    assert str(wire.requests[0].url) == "https://api.openai.com/v1/embeddings"
    assert json.loads(wire.requests[0].content) == {
        "model": "embedder",
        "input": ["a", "b"],
        "encoding_format": "base64",
        "dimensions": 2,
    }


async def test_vectors_are_read_from_base64_and_from_numbers() -> None:
    packed = base64.b64encode(struct.pack("<3f", 0.5, -2, 1e-3)).decode()
    wire = FakeWire(json_answer({"data": [{"index": 0, "embedding": packed}]}))
    got = await lane(vector_encoding="float").embed(EmbedRequest("embedder", ("a",)), wire)
    assert got.vectors == (array("f", [0.5, -2, 1e-3]),)
    assert json.loads(wire.requests[0].content)["encoding_format"] == "float"


@pytest.mark.parametrize(
    "answer",
    [
        json_answer({"data": [{"index": 0, "embedding": "AAAA"}] * 2}),
        json_answer({"data": [{"index": 0, "embedding": "no base64!"}] * 2}),
        json_answer({"error": {"message": SECRET}}),
        Answer(200, {}, [SECRET.encode()]),
    ],
    ids=["half a number", "not base64", "error", "nonsense"],
)
async def test_invalid_vectors_are_an_upstream_error(answer: Answer) -> None:
    with pytest.raises(UpstreamError) as caught:
        await lane().embed(EmbedRequest("embedder", ("a", "b")), FakeWire(answer))
    assert SECRET not in caught.value.message


# On a real socket


def limits(retries: int = 0) -> WireLimits:
    return WireLimits(connect_s=5, first_byte_s=30, between_bytes_s=30, total_s=60, retries=retries)


async def test_a_finished_stream_leaves_its_connection_to_the_next_call() -> None:
    callers: list[Any] = []

    async def chat(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        callers.append(request.transport.get_extra_info("peername"))
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: " + json.dumps(finish("stop")).encode() + b"\n\ndata: [DONE]\n\n")
        return response

    app = web.Application()
    app.router.add_post("/chat/completions", chat)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    transport = open_transport()
    try:
        opened = lane(base_url=f"http://127.0.0.1:{runner.addresses[0][1]}")
        for _ in range(3):
            await check_lane(opened, make_request(), TicketWire(transport, limits()))
    finally:
        await transport.aclose()
        await runner.cleanup()
    assert len(callers) == 3
    assert len(set(callers)) == 1


async def test_a_vendor_that_breaks_after_done_has_still_answered() -> None:
    wire = FakeWire(event_stream(finish("stop"), broken=httpx.ReadTimeout("still there")))
    assert await check_lane(lane(), make_request(), wire) == [Finish("stop")]


@pytest.mark.asyncio(loop_scope="session")
async def test_it_talks_to_a_real_llama_cpp_server(local: Local) -> None:
    model = await local.child.ready()
    url = str(model.chat_url).removesuffix("/chat/completions")
    opened = lane(base_url=url, api_key=local.child.api_key, max_tokens_field="max_tokens")
    transport = open_transport()
    try:
        request = make_request(TextPart("What is the capital of Italy?"), temperature=0.0, max_tokens=4)
        # It hangs up after each stream although it promised not to: the wire's retries are for that.
        events = await check_lane(opened, request, TicketWire(transport, limits(retries=2)))
    finally:
        await transport.aclose()
    text = "".join(event.text for event in events if isinstance(event, ChatDelta))
    usage = next(event for event in events if isinstance(event, Usage))
    assert text == " The capital of Italy"
    assert (usage.input_tokens, usage.output_tokens) == (49, 4)
    assert events[-1] == Finish("length")


@pytest.mark.asyncio(loop_scope="session")
async def test_a_refused_credential_is_not_sent_again(local: Local) -> None:
    model = await local.child.ready()
    opened = lane(base_url=str(model.chat_url).removesuffix("/chat/completions"), api_key="wrong")
    transport = open_transport()
    wire = TicketWire(transport, limits(retries=2))
    try:
        with pytest.raises(UpstreamError, match="credential"):
            await check_lane(opened, make_request(), wire)
    finally:
        await transport.aclose()
    assert wire.tries == 1
