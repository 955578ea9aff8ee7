"""Chunks that contain only text are read by a shorter way, which says the same as the long one."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from kaixu.plugin import CompletionReader
from tests.support.size import examples

TEXT = st.one_of(st.none(), st.text(max_size=3), st.just(5), st.just([{"type": "text", "text": "x"}]))
ODD = st.sampled_from([None, "", "stop", 0, 1, 3.0, "1", True, {}, {"prompt_tokens": 3, "completion_tokens": 2}])
DELTA = st.dictionaries(
    st.sampled_from(["content", "role", "refusal", "reasoning_content", "tool_calls", "usage", "x"]), TEXT, max_size=3
)
CHOICE = st.fixed_dictionaries(
    {"delta": st.one_of(DELTA, DELTA, DELTA, ODD)},
    optional={
        "index": ODD,
        "finish_reason": ODD,
        "logprobs": ODD,
        "usage": ODD,
        "message": st.one_of(DELTA, st.none()),
        "x": ODD,
    },
)
CHUNK = st.fixed_dictionaries(
    {"choices": st.one_of(st.lists(CHOICE, max_size=2), ODD)},
    optional={"id": ODD, "usage": ODD, "model": ODD, "x": ODD, "object": st.sampled_from(["chat.completion.chunk", 1])},
)


def told(chunks: list[dict[str, Any]], *, native: bool, short: bool) -> tuple[list[str], set[int], set[int]]:
    """What a reader makes of chunks; errors as their names."""
    reader = CompletionReader(lambda what: None, native=native)
    said: list[str] = []
    for chunk in deepcopy(chunks):
        try:
            said += map(repr, reader.read(chunk) if short else reader.read_any(chunk))
        except Exception as error:
            said.append(type(error).__name__)
    return said, reader.started, reader.ended_choices


@given(st.lists(CHUNK, max_size=3))
@settings(max_examples=examples(200), deadline=None)
def test_the_short_way_says_what_the_long_one_says(chunks: list[dict[str, Any]]) -> None:
    assert told(chunks, native=False, short=True) == told(chunks, native=False, short=False)


WHOLE_CHOICE = st.fixed_dictionaries(
    {"message": st.one_of(DELTA, DELTA.map(lambda message: message | {"content": "Hi"}), ODD)},
    optional={"index": ODD, "finish_reason": ODD, "logprobs": ODD, "delta": ODD, "text": ODD, "x": ODD},
)
WHOLE = st.fixed_dictionaries(
    {"choices": st.one_of(st.lists(WHOLE_CHOICE, min_size=1, max_size=2), ODD)},
    optional={"id": ODD, "usage": ODD, "error": ODD, "object": st.sampled_from(["chat.completion", "error"])},
)


@given(WHOLE, st.booleans())
@settings(max_examples=examples(200), deadline=None)
def test_an_answer_in_one_piece_is_read_alike_by_both_ways(chunk: dict[str, Any], native: bool) -> None:
    assert told([chunk], native=native, short=True) == told([chunk], native=native, short=False)


def test_text_alone_goes_the_short_way_unchanged() -> None:
    chunk = {"id": "c", "choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": None}], "usage": None}
    said, started, _ = told([chunk], native=True, short=True)
    assert said == [f"NativeEvent(data={chunk!r})", "ChatDelta(text='a')"]
    assert started == {0}


def test_a_null_message_beside_the_delta_goes_no_further() -> None:
    chunk = {"choices": [{"index": 0, "delta": {"content": "a"}, "message": None}]}
    said, _, _ = told([chunk], native=True, short=True)
    assert said == ["NativeEvent(data={'choices': [{'index': 0, 'delta': {'content': 'a'}}]})", "ChatDelta(text='a')"]
