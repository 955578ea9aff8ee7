"""What is charged when a client leaves, event by event, without a gateway."""

from __future__ import annotations

from typing import Any

import pytest
from kaixu_openai import OpenAI, OpenAIOptions
from msgspec.structs import replace

from kaixu.metering.left_early import asks_to_reason
from kaixu.metering.native_fields import with_known_fields
from kaixu.metering.reported_usage import MOST_UNSENT_TOKENS, without_impossible
from kaixu.plugin.types import ChatDelta, ChatEvent, Finish, Native, Usage
from tests.plugins.billing import HELLO, ticket_for

from .test_bounds import LANES, deployment

LANE = OpenAI(OpenAIOptions.model_validate({"api_key": "k"}))
TEXT = ChatDelta("word " * 100)


@pytest.mark.parametrize(
    ("events", "source"),
    [
        ([TEXT, Usage(30, 100), Finish("stop")], "provider"),
        ([TEXT, Finish("stop"), Usage(30, 100)], "provider"),
        ([Usage(30, 1), TEXT, Finish("stop")], "estimated"),
        ([Usage(30, 1), TEXT], "estimated"),
        ([TEXT, Usage(30, 100)], "estimated"),
        ([Usage(0, 5), Finish("stop")], "estimated"),
        ([Usage(30, 0), Finish("content_filter")], "provider"),
    ],
    ids=[
        "reported",
        "reported last",
        "reported too early",
        "not ended",
        "no end",
        "input missing",
        "nothing to report",
    ],
)
def test_only_the_usage_of_an_answer_that_has_ended_is_its_bill(events: list[ChatEvent], source: str) -> None:
    ticket = ticket_for(LANE, HELLO)
    for event in events:
        ticket.count_event(event)
    bill = ticket.bill("client_gone")
    assert bill.usage_source == source
    if source == "estimated" and TEXT in events:
        assert bill.output_tokens >= 100


def test_the_lane_may_tell_the_end_before_the_usage_came() -> None:
    ticket = ticket_for(LANE, HELLO)
    ticket.count_event(TEXT)
    assert not ticket.has_ended
    ticket.wire.finished()
    assert ticket.has_ended
    # Another try begins anew.
    try_wire = ticket.wire.for_try(ticket.wire.limits)
    assert not ticket.has_ended
    try_wire.close()
    try_wire.finished()
    assert not ticket.has_ended


@pytest.mark.parametrize(
    ("fields", "may_reason"),
    [
        ({"think": True}, True),
        ({"think": "low"}, True),
        ({"think": False}, False),
        ({"prompt_mode": "reasoning"}, True),
        ({"chat_template_kwargs": {"enable_thinking": True}}, True),
        ({"chat_template_kwargs": {"thinking": True}}, True),
        ({"chat_template_kwargs": {"enable_thinking": False}}, False),
        ({"thinking": {"type": "enabled"}}, True),
        ({"reasoning": {"enabled": False}}, False),
        ({}, False),
    ],
)
def test_requested_reasoning_is_found_in_vendors_own_fields(fields: dict[str, Any], may_reason: bool) -> None:
    assert asks_to_reason(replace(HELLO, native=Native("openai.chat", fields))) is may_reason


@pytest.mark.parametrize(
    ("reported", "plausible"),
    [
        (Usage(9080, 10, 0, 9077), Usage(9080, 10, 0, 9077)),
        (Usage(10**9, 5, 10**9), Usage(0, 5)),
        (Usage(10**9, 5, total_tokens=10**9), Usage(0, 5)),
        (Usage(50, 5, 10**9), Usage(50, 5, 50)),
        (Usage(50, 5, 20, 10**9), Usage(50, 5, 20, 30)),
        (Usage(MOST_UNSENT_TOKENS + 100), Usage(MOST_UNSENT_TOKENS + 100)),
        (Usage(MOST_UNSENT_TOKENS + 101), Usage(0)),
    ],
)
def test_reported_input_that_was_never_sent_is_ignored(reported: Usage, plausible: Usage) -> None:
    assert without_impossible(reported, 100) == plausible


@pytest.mark.parametrize("lane", ["anthropic", "gemini"])
def test_what_waited_is_translated_where_the_lanes_speak_another_protocol_by_then(lane: str) -> None:
    waited = replace(HELLO, native=Native("openai.chat", {"messages": [{"role": "user", "content": "hi"}]}))
    assert with_known_fields(waited, deployment(LANES["openai"])).native is not None
    assert with_known_fields(waited, deployment(LANES[lane])).native is None
