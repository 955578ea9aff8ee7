"""Streams of native and translated events, and their ends."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kaixu.api.anthropic.stream import MessageStreamEncoder
from kaixu.metering.chat_ticket import ChatTicket
from kaixu.plugin.errors import UpstreamError
from kaixu.plugin.types import ChatDelta, ChatEvent, Finish, NativeEvent, ToolCallDelta, Usage
from tests.api.anthropic.conftest import BILL, NUMBER, USAGE, ticket

HEAD: dict[str, Any] = {
    "id": f"msg_{NUMBER.hex}",
    "type": "message",
    "role": "assistant",
    "model": "up/m",
    "content": [],
    "stop_reason": None,
    "stop_sequence": None,
    "usage": {"input_tokens": 0, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 0},
}


def frames(data: bytes) -> list[dict[str, Any]]:
    """The frames' data, which say their names themselves."""
    read = []
    for one in data.decode().split("\n\n")[:-1]:
        name, line = one.split("\n")
        value = msgspec.json.decode(line.removeprefix("data: "))
        assert name == f"event: {value['type']}"
        read.append(value)
    return read


def spoken(events: list[ChatEvent], made: ChatTicket, *, native: bool = False) -> list[dict[str, Any]]:
    encoder = MessageStreamEncoder("up/m", native=native)
    assert encoder.begin(made) == b""
    return frames(b"".join(encoder.event(event) for event in events) + encoder.done(made))


def ended(reason: str, sequence: str | None = None) -> list[dict[str, Any]]:
    delta = {"stop_reason": reason, "stop_sequence": sequence}
    return [
        {"type": "message_delta", "delta": delta, "usage": USAGE, "kaixu": BILL},
        {"type": "message_stop"},
    ]


def test_a_stream_of_the_contract_s_events() -> None:
    events: list[ChatEvent] = [Usage(10, 0), ChatDelta("Hi"), ToolCallDelta(0, "t", "n", "{}"), Finish("stop")]
    assert spoken(events, ticket()) == [
        {"type": "message_start", "message": HEAD},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "content_block_start",
            "index": 1,
            "content_block": {"type": "tool_use", "id": "t", "name": "n", "input": {}},
        },
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "{}"}},
        {"type": "content_block_stop", "index": 1},
        *ended("tool_use"),
    ]


def test_what_a_vendor_leaves_null_and_clients_need_is_ours() -> None:
    start = {"type": "message_start", "message": {"id": None, "role": None, "usage": None, "x": None}}
    first, *_ = spoken([NativeEvent(start)], ticket(), native=True)
    ours = {name: HEAD[name] for name in ("id", "role", "usage", "model")}
    assert first == {"type": "message_start", "message": ours | {"x": None}}


def test_a_stream_without_a_word_is_a_whole_one() -> None:
    assert spoken([Finish("stop")], ticket()) == [{"type": "message_start", "message": HEAD}, *ended("end_turn")]


def test_nothing_is_sent_before_the_first_output() -> None:
    encoder = MessageStreamEncoder("up/m", native=False)
    encoder.begin(ticket())
    assert encoder.event(Usage(1, 0)) == b""
    assert encoder.event(ChatDelta("")) == b""


def cut() -> ChatTicket:
    return ticket(None, end_reason="budget_cut")


CUT_BILL = BILL | {"end": "budget_cut"}
TEXT: list[dict[str, Any]] = [
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
]
START: dict[str, Any] = {
    "type": "message_start",
    "message": {"id": "msg_theirs", "model": "claude-x", "usage": {"input_tokens": 5, "output_tokens": 1}, "new": 1},
}
STARTED = START | {"message": START["message"] | {"model": "up/m"}}
STOP = {"type": "content_block_stop", "index": 0}
CUT = [
    STOP,
    {
        "type": "message_delta",
        "delta": {"stop_reason": "max_tokens", "stop_sequence": None},
        "usage": USAGE,
        "kaixu": CUT_BILL,
    },
    {"type": "message_stop"},
]


def test_a_stream_that_the_budget_ended_closes_what_is_open() -> None:
    assert spoken([ChatDelta("Hi")], cut()) == [{"type": "message_start", "message": HEAD}, *TEXT, *CUT]
    native: list[ChatEvent] = [NativeEvent(event) for event in [START, *TEXT]]
    assert spoken(native, cut(), native=True) == [STARTED, *TEXT, *CUT]


def test_a_vendor_s_stream_goes_on_as_it_is_under_our_model_s_name() -> None:
    vendor_events = [
        START,
        {"type": "ping"},
        *TEXT,
        STOP,
        {"type": "novel", "a": 1},
        {"type": "message_delta", "delta": {"container": {"id": "c"}}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 4, "new": 2}},
        {"type": "message_stop", "new": 3},
    ]
    events: list[ChatEvent] = []
    for event in vendor_events:
        events += [NativeEvent(event), ChatDelta("the same, in the contract's words")]
    *before, delta, stop = spoken(events, ticket(), native=True)
    assert before == [STARTED, *vendor_events[1:-2]]
    assert delta == vendor_events[-2] | {"usage": {"new": 2} | USAGE, "kaixu": BILL}
    assert stop == vendor_events[-1]


def test_the_end_waits_for_the_bill() -> None:
    encoder = MessageStreamEncoder("up/m", native=True)
    encoder.begin(ticket())
    encoder.event(NativeEvent(START))
    assert encoder.event(NativeEvent({"type": "message_delta", "delta": {"stop_reason": "end_turn"}})) == b""
    assert encoder.event(NativeEvent({"type": "message_stop"})) == b""


@pytest.mark.parametrize(
    "event",
    [{"type": "error", "error": {"message": "vendor secret"}}, {}, {"type": []}, {"type": "a\ndata: b"}],
    ids=["its failure", "no name", "no text", "more than a name"],
)
def test_what_a_vendor_should_not_say_is_not_passed_on(event: dict[str, Any]) -> None:
    encoder = MessageStreamEncoder("up/m", native=True)
    encoder.begin(ticket())
    assert encoder.event(NativeEvent(event)) == b""


def test_an_error_in_the_middle() -> None:
    [failed] = frames(MessageStreamEncoder("up/m", native=False).failed(UpstreamError("it broke off"), ticket()))
    assert failed == {
        "type": "error",
        "error": {"type": "api_error", "message": "it broke off", "details": {"error_code": "upstream_error"}},
        "code": "UPSTREAM_ERROR",
        "request_id": "r",
        "status": 502,
        "kaixu": BILL,
    }


def test_a_ping_is_an_event() -> None:
    assert MessageStreamEncoder("up/m", native=False).ping() == b'event: ping\ndata: {"type":"ping"}\n\n'
