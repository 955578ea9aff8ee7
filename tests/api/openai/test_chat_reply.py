"""OpenAI's completion from events, and from a vendor's own chunks."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from kaixu.api.openai.chat_reply import ChatStreamEncoder, completion, merge_chunks
from kaixu.api.openai.chat_request import parse_chat_request
from kaixu.plugin.errors import UpstreamError
from kaixu.plugin.types import (
    ChatDelta,
    ChatEvent,
    Finish,
    NativeEvent,
    ReasoningDelta,
    ReasoningPart,
    TextPart,
    ToolCallDelta,
    Usage,
)
from tests.api.openai.conftest import deployment, ticket

CALLS: list[ChatEvent] = [
    ChatDelta("Let me see. "),
    ToolCallDelta(0, "c1", "now", ""),
    ToolCallDelta(0, None, None, '{"zone"'),
    ToolCallDelta(0, None, None, ':"UTC"}'),
    ToolCallDelta(1, "c2", "then", "{}", opaque="sig"),
    Finish("tool_calls"),
]


def spoken(*events: ChatEvent, native: bool = False, usage: bool = True) -> list[Any]:
    """The chunks of a whole stream; the last is "[DONE]"."""
    encoder = ChatStreamEncoder("ours", native=native, include_usage=usage)
    settled = ticket()
    frames = encoder.begin(settled) + b"".join(map(encoder.event, events)) + encoder.done(settled)
    lines = [frame.removeprefix("data: ") for frame in frames.decode().strip().split("\n\n")]
    return [line if line == "[DONE]" else msgspec.json.decode(line) for line in lines]


def test_a_completion_of_events() -> None:
    whole = completion(ticket("tool_calls"), CALLS, "ours")
    [choice] = whole["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"] == {
        "role": "assistant",
        "content": "Let me see. ",
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "now", "arguments": '{"zone":"UTC"}'}},
            {
                "id": "c2",
                "type": "function",
                "function": {"name": "then", "arguments": "{}"},
                "extra_content": {"google": {"thought_signature": "sig"}},
            },
        ],
    }
    assert (whole["model"], whole["usage"]["total_tokens"]) == ("ours", 7)
    assert whole["kaixu"]["cost_usd"] == "0.000012345"


def test_a_stream_says_the_same_as_the_completion() -> None:
    *chunks, usage, done = spoken(*CALLS)
    assert done == "[DONE]"
    assert usage["usage"]["completion_tokens"] == 4
    streamed = merge_chunks(chunks)["choices"][0]
    assert streamed == completion(ticket("tool_calls"), CALLS, "ours")["choices"][0]


def test_reasoning_goes_under_the_name_that_most_clients_know_and_can_be_given_back() -> None:
    events: list[ChatEvent] = [
        ReasoningDelta("hm "),
        ReasoningDelta("so"),
        ReasoningDelta("", opaque="s"),
        ReasoningDelta("", opaque="t"),
        ChatDelta("4"),
    ]
    message = completion(ticket(), events, "ours")["choices"][0]["message"]
    assert (message["reasoning_content"], message["content"]) == ("hm so", "4")
    assert message["reasoning_details"] == [
        {"index": 0, "type": "reasoning.text", "text": "hm so", "signature": "s"},
        {"index": 1, "type": "reasoning.text", "signature": "t"},
    ]
    read = parse_chat_request({"messages": [message]}, deployment(), most_messages=9).messages[0].parts
    assert read == (ReasoningPart("hm so", "s"), ReasoningPart("", "t"), TextPart("4"))


def test_a_native_stream_goes_on_as_it_came_under_our_model_s_name() -> None:
    first = {"id": "v1", "created": 5, "model": "theirs", "system_fingerprint": "fp", "choices": [{"index": 0, "delta": {"content": "a"}, "logprobs": {"content": [{"token": "a"}]}}]}  # fmt: skip
    last = {
        "id": "v1",
        "created": 5,
        "model": "theirs",
        "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
    }
    usage = {"id": "v1", "model": "theirs", "choices": [], "usage": {"prompt_tokens": 3, "odd_tokens": 9}}
    events: list[ChatEvent] = [
        NativeEvent(first),
        ChatDelta("a"),
        NativeEvent(last),
        NativeEvent(usage),
        Usage(3, 1),
        Finish("stop"),
    ]
    *chunks, told, done = spoken(*events, native=True)
    assert done == "[DONE]"
    assert [chunk["id"] for chunk in chunks] == ["v1", "v1"]
    assert {chunk["model"] for chunk in (*chunks, told)} == {"ours"}
    assert (chunks[0]["system_fingerprint"], chunks[0]["choices"]) == ("fp", first["choices"])
    billed = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7, "odd_tokens": 9}
    assert told["usage"] == billed
    assert "usage" not in spoken(*events, native=True, usage=False)[-2]
    whole = completion(ticket(), events, "ours")
    assert whole["choices"][0]["logprobs"] == {"content": [{"token": "a"}]}
    assert (whole["system_fingerprint"], whole["usage"]) == ("fp", billed)


def test_several_answers_stay_separate() -> None:
    pieces = [
        NativeEvent({"choices": [{"index": at, "delta": {"content": text}}]})
        for at, text in ((0, "a"), (1, "x"), (0, "b"), (1, "y"))
    ]
    whole = completion(ticket(), pieces, "ours")
    assert [choice["message"]["content"] for choice in whole["choices"]] == ["ab", "xy"]


def test_a_vendor_that_answered_in_one_piece_is_streamed_all_the_same() -> None:
    piece = {
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"content": "a"}, "finish_reason": "stop"}],
    }
    chunk, done = spoken(NativeEvent(piece), native=True, usage=False)
    assert (chunk["object"], chunk["choices"][0]["delta"], done) == (
        "chat.completion.chunk",
        {"content": "a"},
        "[DONE]",
    )


def test_what_a_vendor_leaves_null_and_clients_need_is_ours() -> None:
    message = {"role": None, "content": "a", "x": None}
    piece = {"id": None, "created": None, "x": None, "choices": [{"index": 0, "message": message}]}
    whole = completion(ticket(), [NativeEvent(piece)], "ours")
    assert whole["id"].startswith("chatcmpl-")
    assert whole["created"] > 0
    assert "x" in whole
    assert whole["choices"][0]["message"] == {"role": "assistant", "content": "a", "x": None}
    chunk, _ = spoken(
        NativeEvent(piece | {"choices": [{"index": 0, "delta": message, "finish_reason": "stop"}]}),
        native=True,
        usage=False,
    )
    assert chunk["id"].startswith("chatcmpl-")
    assert chunk["created"] > 0


def test_a_stream_that_we_ended_has_an_end() -> None:
    chunks = spoken(ChatDelta("a"), usage=False)
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    settled = ticket(end_reason="budget_cut")
    encoder = ChatStreamEncoder("ours", native=False, include_usage=False)
    assert b'"finish_reason":"length"' in encoder.begin(settled) + encoder.event(ChatDelta("a")) + encoder.done(settled)


def test_an_error_in_the_middle_is_one_that_the_sdk_raises() -> None:
    encoder = ChatStreamEncoder("ours", native=False, include_usage=False)
    frame = encoder.failed(UpstreamError("the vendor broke off"), ticket())
    error = msgspec.json.decode(frame.removeprefix(b"data: "))["error"]
    assert (error["type"], error["code"], error["status"]) == ("server_error", "upstream_error", 502)


@given(st.lists(st.tuples(st.integers(0, 2), st.text(min_size=1, max_size=5)), max_size=20))
def test_pieces_in_any_order_fold_to_their_texts(pieces: list[tuple[int, str]]) -> None:
    chunks = [{"choices": [{"index": index, "delta": {"content": text}}]} for index, text in pieces]
    told = {choice["index"]: choice["message"]["content"] for choice in merge_chunks(chunks)["choices"]}
    wanted = {index: "".join(text for at, text in pieces if at == index) for index, _ in pieces}
    assert told == wanted


@given(st.text())
def test_a_piece_of_text_is_a_chunk_as_any_other_delta_is(text: str) -> None:
    encoder = ChatStreamEncoder("ours", native=False, include_usage=False)
    encoder.begin(ticket())
    encoder.event(ChatDelta("Let me see. "))
    assert encoder.event(ChatDelta(text)) == encoder.chunk_frame({"content": text})
