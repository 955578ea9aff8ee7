"""Requests of text alone are read in one step, and come out as the general way reads them."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kaixu.api.openai.chat_request import PROTOCOL, parse_any, parse_chat_request
from kaixu.api.openai.text_chat import FIELDS, MOST_MESSAGES, read_text_chat
from kaixu.plugin.errors import KaixuError
from kaixu.plugin.types import ChatRequest
from tests.api.openai.conftest import deployment

TEXTS = st.text(max_size=5)
NUMBERS = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.floats(-3, 3), st.just(10**7), st.just(10**7 + 1), st.just(2**63)
)
ROLES = st.sampled_from(["system", "developer", "user", "assistant", "tool", "User", " user", ""])
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": ROLES, "content": st.one_of(TEXTS, st.none(), st.just([{"type": "text", "text": "Hi"}]))},
        optional={"name": TEXTS, "cache_control": st.just({"type": "ephemeral"}), "refusal": st.none()},
    ),
    max_size=4,
)
BODIES = st.fixed_dictionaries(
    {"model": st.just("m"), "messages": MESSAGES},
    optional={
        **dict.fromkeys(sorted(FIELDS - {"model", "messages", "user", "stream", "stream_options"}), NUMBERS),
        "user": st.one_of(TEXTS, st.none(), st.just("x" * 501)),
        "stream": st.one_of(st.booleans(), st.none(), st.just("yes")),
        "stream_options": st.sampled_from([None, {}, {"include_usage": True}, {"include_usage": 1}, {"more": True}]),
        "stop": st.just("\n"),
        "tools": st.just([]),
    },
)


def outcome(read: Any, body: dict[str, Any], native: bool, most_messages: int) -> ChatRequest | tuple[str, str]:
    try:
        request: ChatRequest = read(body, deployment(native=native), most_messages=most_messages)
    except KaixuError as error:
        return error.code, error.message
    return request


@given(BODIES, st.booleans(), st.sampled_from([1, 100]))
def test_both_ways_give_the_same_request_or_the_same_error(
    body: dict[str, Any], native: bool, most_messages: int
) -> None:
    expected = outcome(parse_any, body, native, most_messages)
    assert outcome(parse_chat_request, body, native, most_messages) == expected


def is_read_in_one_step(**body: Any) -> bool:
    turns = [{"role": "user", "content": "Hi"}]
    read = read_text_chat({"messages": turns} | body, deployment(), protocol=PROTOCOL, most_messages=1000)
    return read is not None


def test_what_clients_usually_send_is_read_in_one_step() -> None:
    assert is_read_in_one_step(model="m")
    assert is_read_in_one_step(model="m", max_tokens=5, temperature=1, stream=True, stream_options={})
    assert not is_read_in_one_step(model="m", tools=[])
    assert not is_read_in_one_step(model="m", messages=[{"role": "user", "content": "Hi"}] * (MOST_MESSAGES + 1))
