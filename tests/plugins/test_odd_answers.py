"""Answers that are odd and plainly meant: one odd piece does not cost the whole answer, at any lane."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Callable
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kaixu_anthropic import Anthropic, AnthropicOptions
from kaixu_gemini import Gemini, GeminiOptions
from kaixu_openai import OpenAI, OpenAIOptions
from kaixu_voyage import Voyage, VoyageOptions

from kaixu.api.anthropic.reply import merge_events as message_of
from kaixu.api.openai.chat_reply import ChatStreamEncoder, merge_completion
from kaixu.plugin import (
    ChatDelta,
    ChatEvent,
    ChatRequest,
    EmbedRequest,
    Finish,
    KaixuError,
    Lane,
    Message,
    Native,
    NativeEvent,
    ReasoningDelta,
    TextPart,
    ToolCallDelta,
    UpstreamError,
    Usage,
)
from kaixu.plugin.testing import Answer, FakeWire, check_lane, event_stream, json_answer
from tests.support.size import examples

HELLO = ChatRequest("m", (Message("user", (TextPart("hello"),)),), max_tokens=64)


def openai() -> Lane:
    return OpenAI(OpenAIOptions.model_validate({"api_key": "k"}))


def anthropic() -> Lane:
    return Anthropic(AnthropicOptions.model_validate({"api_key": "k"}))


def gemini() -> Lane:
    return Gemini(GeminiOptions.model_validate({"api_key": "k"}))


def native(lane: Lane) -> ChatRequest:
    """A request that is passed through."""
    assert lane.native is not None
    return msgspec.structs.replace(HELLO, native=Native(lane.native, {"messages": []}))


def delta(**fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields}]}


END: dict[str, Any] = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
STOP: list[dict[str, Any]] = [
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
    {"type": "message_stop"},
]


def texts_in(events: list[ChatEvent]) -> tuple[str, str]:
    """The text and the reasoning."""
    text = "".join(event.text for event in events if isinstance(event, ChatDelta))
    return text, "".join(event.text for event in events if isinstance(event, ReasoningDelta))


def calls_in(events: list[ChatEvent]) -> list[tuple[str, str]]:
    """The tool calls, by what the contract's events say: their names and arguments."""
    calls: dict[int, list[str]] = {}
    for event in events:
        if isinstance(event, ToolCallDelta):
            call = calls.setdefault(event.index, ["", ""])
            call[0] += event.name or ""
            call[1] += event.arguments
    return [(name, arguments) for name, arguments in calls.values()]


def native_calls(events: list[ChatEvent]) -> list[tuple[str, str]]:
    """The tool calls as a client puts them together that gets the vendor's own chunks."""
    whole = merge_completion(events, "m", None, None)
    calls = whole["choices"][0]["message"]["tool_calls"]
    assert len({call["id"] for call in calls}) == len(calls)
    return [(call["function"]["name"], call["function"]["arguments"]) for call in calls]


MISTRAL = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "hi"}]


@pytest.mark.parametrize("protocol", ["translated", "native"])
@pytest.mark.parametrize(
    ("chunks", "text", "thought"),
    [
        ([delta(content=MISTRAL)], "hi", "hm"),
        ([delta(content=["h", {"text": "i"}])], "hi", ""),
        ([delta(content={"type": "text", "text": "hi"})], "hi", ""),
        ([delta(content=5)], "5", ""),
        ([delta(content=False), delta(content="hi")], "hi", ""),
        ([delta(content="hi", reasoning=[{"text": "hm"}])], "hi", "hm"),
        ([delta(content="hi", tool_calls="none", refusal=[])], "hi", ""),
        ([{"choices": {"index": 0, "delta": {"content": "hi"}}}], "hi", ""),
        ([{"choices": [{"index": "0", "delta": {"content": "hi"}, "finish_reason": 7}]}], "hi", ""),
        ([{"choices": [None, {"delta": {"content": "hi"}}], "id": 7, "created": "now"}], "hi", ""),
        ([{"choices": [{"message": {"content": "no"}, "delta": {"content": "hi"}}]}], "hi", ""),
        ([{"choices": [{"text": "hi"}]}], "hi", ""),
        ([delta(content="hi"), {"choices": "none", "usage": [], "error": None}], "hi", ""),
        (["", delta(content="h"), "null", "[]", "17", delta(content="i")], "hi", ""),
        ([delta(content="h"), "{not json", delta(content="i")], "hi", ""),
        ([delta(content="a"), END, {"error": {"message": "late"}}], "a", ""),
    ],
    ids=[
        "mistral's parts", "strings and parts", "one part", "a number", "a boolean", "reasoning in parts", "others odd",
        "one choice without a list", "odd index and end", "a choice that is null", "delta and message", "completions",
        "odd usage", "empty and odd events", "a broken event", "an error after the end",
    ],
)  # fmt: skip
async def test_an_odd_piece_of_a_chat_completion_does_not_cost_the_answer(
    chunks: list[Any], text: str, thought: str, protocol: str
) -> None:
    lane = openai()
    request = HELLO if protocol == "translated" else native(lane)
    events = await check_lane(lane, request, FakeWire(event_stream(*chunks, END)))
    assert texts_in(events) == (text, thought)
    assert events[-1] == Finish("stop")
    if protocol == "native":
        whole = merge_completion(events, "m", "stop", None)
        assert whole["choices"][0]["message"]["content"] == text
        speaker = ChatStreamEncoder("m", native=True, include_usage=True)
        assert all(isinstance(speaker.event(event), bytes) for event in events)


@pytest.mark.parametrize(
    ("texts", "whole"),
    [
        (["a\ud83d", "\ude00b"], "a😀b"),
        (["a\ud83d", "", "\ude00b"], "a😀b"),
        (["a\ud83d", "b"], "a\ufffdb"),
        (["a\ud83d"], "a\ufffd"),
        (["\ude00b"], "\ufffdb"),
        (["a\ud83d", "\ud83d", "\ude00"], "a\ufffd😀"),
    ],
    ids=[
        "cut in two",
        "an empty one between",
        "the second half is missing",
        "at the end",
        "the first is missing",
        "three",
    ],
)
def test_halves_of_a_character_are_joined_and_lone_ones_replaced(texts: list[str], whole: str) -> None:
    streams: list[tuple[Lane, list[Any]]] = [
        (openai(), [*(delta(content=text) for text in texts), END]),
        (
            anthropic(),
            [
                {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
                *(
                    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
                    for text in texts
                ),
                *STOP,
            ],
        ),
        (
            gemini(),
            [
                *({"candidates": [{"content": {"parts": [{"text": text}]}}]} for text in texts),
                {"candidates": [{"finishReason": "STOP"}]},
            ],
        ),
    ]
    for lane, chunks in streams:
        for request in [HELLO, *([native(lane)] if lane.native else [])]:
            answer = event_stream(*map(json.dumps, chunks), done=lane.native == "openai.chat")
            events = asyncio.run(check_lane(lane, request, FakeWire(answer)))
            assert texts_in(events)[0] == whole
            for event in events:
                msgspec.json.encode(event)


def call(name: str | None = None, arguments: Any = "", **fields: Any) -> dict[str, Any]:
    function = {"arguments": arguments} if name is None else {"name": name, "arguments": arguments}
    return {**fields, "function": function}


TWO = [("weather", '{"city":"Rome"}'), ("time", '{"zone":"CET"}')]


@pytest.mark.parametrize(
    ("chunks", "calls"),
    [
        (
            [
                [call("weather", '{"city":', index=0, id="a", type="function")],
                [call(None, '"Rome"}', index=0)],
                [call("time", '{"zone":', index=0, id="b", type="function")],
                [call(None, '"CET"}', index=0)],
            ],
            TWO,
        ),
        (
            [
                [call("weather", '{"city":', id="a"), call("time", '{"zone":', id="b")],
                [call(None, '"Rome"}', id="a"), call(None, '"CET"}', id="b")],
            ],
            TWO,
        ),
        (
            [
                [call("weather", '{"city":', id="a")],
                [call(None, '"Rome"}')],
                [call("time", '{"zone":', id="b")],
                [call(None, '"CET"}')],
            ],
            TWO,
        ),
        ([[call("weather", '{"city":"Rome"}', index=0), call("time", '{"zone":"CET"}', index=0)]], TWO),
        ([[call("weather", '{"city":"Rome"}')], [call("time", '{"zone":"CET"}')]], TWO),
        ([[call("weather", '{"city":"Rome"}', index=0, id=None)], [call("time", '{"zone":"CET"}', index=0)]], TWO),
        (
            [
                [call("weather", '{"city":', index=0, id="a"), call("time", '{"zone":', index=1, id="b")],
                [call(None, '"CET"}', index=1), call(None, '"Rome"}', index=0)],
            ],
            TWO,
        ),
        (
            [
                [call("weather", '{"city":', index=0, id="a")],
                [call("weather", '"Rome"}', index=0, id="a")],
                [call("time", '{"zone":"CET"}', index=0, id="b")],
            ],
            TWO,
        ),
        ([[call("weather", '{"city":"Rome"}', index=0, id="x"), call("time", '{"zone":"CET"}', index=1, id="x")]], TWO),
        ([[call("weather", '{"a":1}', index=0)], [call("weather", '{"a":2}', index=0)]], [("weather", '{"a":1}'), ("weather", '{"a":2}')]),
        ([[call("weather", {"city": "Rome"}, index=0, id="a")], [call("time", {"zone": "CET"}, index=1)]], TWO),
        ([[{"index": 0, "id": "a"}], [call("weather", '{"city":"Rome"}', index=0)], [call("time", '{"zone":"CET"}', index="1", id="b")]], TWO),
        ([[call("now", None, index=0, id="a")]], [("now", "")]),
    ],
    ids=[
        "one index, two ids", "no index, by turns by id", "no index, one after the other", "one index, one chunk, no ids",
        "no index and no ids", "one index, no ids", "by turns by index", "the id again and again", "one id for both",
        "one name, whole arguments", "arguments as objects", "the name comes later", "no arguments",
    ],
)  # fmt: skip
async def test_each_tool_call_is_one_call(chunks: list[list[Any]], calls: list[tuple[str, str]]) -> None:
    lane = openai()
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}
    stream = [*(delta(tool_calls=pieces) for pieces in chunks), end]
    received = await check_lane(lane, HELLO, FakeWire(event_stream(*copy.deepcopy(stream))))
    assert calls_in(received) == calls
    assert len({event.id for event in received if isinstance(event, ToolCallDelta) and event.id}) == len(calls)
    passed = await check_lane(lane, native(lane), FakeWire(event_stream(*stream)))
    assert native_calls(passed) == calls


async def test_blocks_of_anthropic_s_that_share_an_index_are_two() -> None:
    lane = anthropic()
    stream: list[dict[str, Any]] = [{"type": "message_start", "message": {"content": []}}]
    for id, name, text in (("a", "weather", '{"city":"Rome"}'), ("b", "time", '{"zone":"CET"}')):
        block = {"type": "tool_use", "id": id, "name": name, "input": {}}
        stream += [
            {"type": "content_block_start", "index": 0, "content_block": block},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": text}},
            {"type": "content_block_stop", "index": 0},
        ]
    stream += [{"type": "message_delta", "delta": {"stop_reason": "tool_use"}}]
    events = await check_lane(lane, native(lane), FakeWire(event_stream(*stream, done=False)))
    assert calls_in(events) == TWO
    message = message_of([event.data for event in events if isinstance(event, NativeEvent)])
    assert [(block["name"], block["input"]) for block in message["content"]] == [
        ("weather", {"city": "Rome"}),
        ("time", {"zone": "CET"}),
    ]


WHOLE = {
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1},
}
KINDS = ("application/json", "text/event-stream", "text/plain", None)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "body",
    [
        json.dumps(WHOLE).encode(),
        json.dumps(WHOLE, indent=2).encode(),
        b"\n\n \r\n" + json.dumps(WHOLE, indent=2).encode() + b"\n",
        b"\xef\xbb\xbf" + json.dumps(WHOLE).encode(),
        b"".join(json.dumps(one).encode() + b"\n" for one in (delta(content="h"), delta(content="i"), END | WHOLE)),
        b"".join(event_stream(delta(content="h"), delta(content="i"), END, WHOLE | {"choices": []}).chunks),
    ],
    ids=["one line", "many lines", "after blanks", "after a byte order mark", "JSON lines", "events"],
)
@pytest.mark.parametrize("size", [1, 7, 10**6])
async def test_the_body_decides_what_it_is(body: bytes, kind: str | None, size: int) -> None:
    if body.count(b"\n") == 3 and b"data:" not in body:  # the last line repeats the text as a whole answer
        body = body.replace(json.dumps(END | WHOLE).encode(), json.dumps(END | {"usage": WHOLE["usage"]}).encode())
    chunks = [body[at : at + size] for at in range(0, len(body), size)]
    answer = Answer(200, {} if kind is None else {"content-type": kind}, chunks)
    events = await check_lane(openai(), HELLO, FakeWire(answer))
    assert texts_in(events)[0] == "hi"
    assert events[-2:] == [Usage(3, 1), Finish("stop")]


NOTHING = {
    "an error of its own": json_answer({"code": 30001, "message": "bad parameter", "data": None}),
    "choices null": json_answer({"choices": None}),
    "no choices": json_answer({"choices": [], "usage": {"prompt_tokens": 9}}),
    "a lone [DONE]": event_stream(),
    "an empty stream": event_stream(done=False),
    "an empty body": Answer(200, {}, []),
    "only usage": event_stream({"choices": [], "usage": {"prompt_tokens": 9, "total_tokens": 9}}),
    "only heartbeats": Answer(200, {"content-type": "text/event-stream"}, [b": alive\n\ndata:\n\n"] * 3),
    "an error in a stream": event_stream({"code": 30001, "message": "bad parameter"}),
    "an error as an object": event_stream({"object": "error", "message": "bad parameter", "code": 400}),
}


@pytest.mark.parametrize("answer", NOTHING.values(), ids=NOTHING)
@pytest.mark.parametrize("lane", [openai, anthropic, gemini])
async def test_an_empty_answer_is_a_failure_of_the_vendor(answer: Answer, lane: Callable[[], Lane]) -> None:
    made = lane()
    for request in [HELLO, *([native(made)] if made.native else [])]:
        with pytest.raises(UpstreamError):
            await check_lane(made, request, FakeWire(answer))


@pytest.mark.parametrize("broken", [httpx.ReadError("gone"), UpstreamError("too large"), TimeoutError()], ids=repr)
@pytest.mark.parametrize(
    ("lane", "chunks"),
    [
        (openai, [delta(content="hi"), END]),
        (
            anthropic,
            [{"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "hi"}}, STOP[0]],
        ),
        (gemini, [{"candidates": [{"content": {"parts": [{"text": "hi"}]}, "finishReason": "STOP"}]}]),
    ],
    ids=["openai", "anthropic", "gemini"],
)
async def test_an_end_that_was_seen_is_the_end(lane: Callable[[], Lane], chunks: list[Any], broken: Exception) -> None:
    for after in (broken, None):
        events = await check_lane(lane(), HELLO, FakeWire(event_stream(*chunks, done=False, broken=after)))
        assert texts_in(events)[0] == "hi"
        assert events[-1] == Finish("stop")


async def test_a_choice_that_goes_on_is_not_ended_by_another_s_end() -> None:
    lane = openai()
    request = msgspec.structs.replace(native(lane), n=2)
    chunks: list[Any] = [{"choices": [{"index": at, "delta": {"content": "a"}}]} for at in (0, 1)]
    with pytest.raises(httpx.ReadError):
        await check_lane(
            lane, request, FakeWire(event_stream(*chunks, END, broken=httpx.ReadError("gone"), done=False))
        )


@pytest.mark.parametrize(
    "entries",
    [
        [{"embedding": [1.0, 0.0]}, {"embedding": [0.0, 1.0]}],
        [{"embedding": ["1.0", 0], "index": None}, {"embedding": [0, "1"], "index": "1"}],
        [{"embedding": [0.0, 1.0], "index": 1.0}, {"embedding": [1.0, 0.0], "index": 0}],
        [[1.0, 0.0], [0.0, 1.0]],
    ],
    ids=["no index", "numbers as texts", "index as a float", "vectors alone"],
)
async def test_vectors_are_found_in_other_forms_too(entries: list[Any]) -> None:
    answer = json_answer({"data": entries, "usage": {"total_tokens": "4"}})
    for lane in (openai(), Voyage(VoyageOptions.model_validate({"api_key": "k"}))):
        got = await lane.embed(EmbedRequest("m", ("a", "b")), FakeWire(answer))
        assert ([list(vector) for vector in got.vectors], got.usage) == ([[1.0, 0.0], [0.0, 1.0]], Usage(4))


# Any change of a good stream

OPENAI_STREAM: list[Any] = [
    delta(role="assistant", content="One "),
    delta(reasoning_content="Hm."),
    delta(content="two "),
    delta(tool_calls=[call("weather", '{"city":', index=0, id="a", type="function")]),
    delta(tool_calls=[call(None, '"Rome"}', index=0)]),
    delta(content="three"),
    END,
    {
        "choices": [],
        "usage": {"prompt_tokens": 9, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}},
    },
]
ANTHROPIC_STREAM: list[Any] = [
    {"type": "message_start", "message": {"content": [], "usage": {"input_tokens": 9, "output_tokens": 1}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "One "}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "two "}},
    {"type": "content_block_stop", "index": 0},
    {
        "type": "content_block_start",
        "index": 1,
        "content_block": {"type": "tool_use", "id": "a", "name": "w", "input": {}},
    },
    {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "{}"}},
    {"type": "content_block_stop", "index": 1},
    {"type": "content_block_start", "index": 2, "content_block": {"type": "text", "text": "three"}},
    *STOP,
]
GEMINI_STREAM: list[Any] = [
    {
        "candidates": [{"content": {"role": "model", "parts": [{"text": "One "}]}}],
        "usageMetadata": {"promptTokenCount": 9},
    },
    {"candidates": [{"content": {"parts": [{"text": "Hm.", "thought": True}, {"text": "two "}]}}]},
    {"candidates": [{"content": {"parts": [{"functionCall": {"name": "w", "args": {"a": 1}}}, {"text": "three"}]}}]},
    {"candidates": [{"finishReason": "STOP"}], "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 5}},
]
STREAMS = [(openai, OPENAI_STREAM), (anthropic, ANTHROPIC_STREAM), (gemini, GEMINI_STREAM)]
TEXTS = ("One ", "two ", "three")
OTHERS: list[Any] = [
    None,
    True,
    0,
    -1,
    2.5,
    10**30,
    "5",
    "",
    "x\ud83d",
    [],
    {},
    [None],
    [[]],
    {"a": 1},
    ["x"],
    [{"text": 1}],
]


def paths_in(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something stands in a document."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(inner for key, entry in entries for inner in paths_in(entry, (*path, key)))]


def changed(stream: list[Any], path: tuple[Any, ...], how: str, other: Any) -> list[Any]:
    """A stream with one change."""
    made = copy.deepcopy(stream)
    holder = made
    for key in path[:-1]:
        holder = holder[key]
    if how == "delete":
        del holder[path[-1]]
    elif how == "insert":
        made.insert(path[0], other)
    else:
        holder[path[-1]] = {"replace": other, "wrap": [holder[path[-1]]], "nest": {"x": holder[path[-1]]}}[how]
    return made


@given(st.data())
@settings(max_examples=examples(300), deadline=None)
def test_no_change_of_a_good_stream_costs_what_can_still_be_read(data: st.DataObject) -> None:
    make, stream = data.draw(st.sampled_from(STREAMS))
    path = data.draw(st.sampled_from([path for path in paths_in(stream) if path]))
    how = data.draw(st.sampled_from(["replace", "delete", "wrap", "nest", "insert"]))
    other = data.draw(st.sampled_from(OTHERS))
    lane = make()
    request = native(lane) if lane.native and data.draw(st.booleans()) else HELLO
    chunks = changed(stream, path, how, other)
    whole = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks)
    wire = FakeWire(Answer(200, {"content-type": "text/event-stream"}, [whole + b"data: [DONE]\n\n"]))
    events: list[ChatEvent] = []

    async def read() -> None:
        async for event in lane.chat(request, wire):
            events.append(event)

    try:
        asyncio.run(read())
    except KaixuError:
        assert not any(isinstance(event, Finish) for event in events)
    untouched = [chunk for at, chunk in enumerate(stream) if how == "insert" or at != path[0]]
    for text in TEXTS:
        if text in json.dumps(untouched):
            assert text in texts_in(events)[0]
    if request.native is not None:
        passed = [event.data for event in events if isinstance(event, NativeEvent)]
        assert isinstance(msgspec.json.encode(passed), bytes)
        if lane.native == "openai.chat":
            speaker = ChatStreamEncoder("m", native=True, include_usage=True)
            assert all(isinstance(speaker.event(event), bytes) for event in events)
            if passed:
                merge_completion(events, "m", None, None)
        else:
            message_of(passed)
