"""How inputs are cut into batches, which vectors are none, and when they are made of unit length again."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kaixu_azure import Azure
from kaixu_gemini import Gemini
from kaixu_openai import OpenAI
from kaixu_voyage import Voyage

from kaixu.metering.counting import byte_length
from kaixu.metering.vectors import Input, batches, check_vectors, normalized
from kaixu.plugin.errors import UpstreamError
from kaixu.plugin.lane import Lane
from kaixu.plugin.types import EmbedRequest


class Bounded(Lane):
    """A lane with limits and without a tokenizer."""

    def __init__(self, inputs: int, tokens: int | None) -> None:
        self.max_batch, self.max_batch_tokens = inputs, tokens


class Counting(Bounded):
    """One that counts words."""

    def count_tokens(self, model: str, text: str) -> int:
        return len(text.split())


def cut(lane: Lane, *inputs: Input) -> list[tuple[Input, ...]]:
    """The batches of some inputs."""
    return batches(lane, EmbedRequest("m", inputs))


def test_batches_hold_as_many_inputs_as_the_vendor_takes() -> None:
    assert cut(Bounded(2, None), "a", "b", "c", "d", "e") == [("a", "b"), ("c", "d"), ("e",)]
    assert cut(Bounded(2, 10**6), "a", "b", "c", "d", "e") == [("a", "b"), ("c", "d"), ("e",)]


def test_batches_hold_as_many_tokens_as_the_vendor_takes() -> None:
    assert cut(Counting(9, 3), "one two", "one", "one two three", "one", "one") == [
        ("one two", "one"),
        ("one two three",),
        ("one", "one"),
    ]


def test_without_a_tokenizer_tokens_are_bounded_by_bytes() -> None:
    assert cut(Bounded(9, 6), "abc", "def", "東京", "a", "b") == [("abc", "def"), ("東京",), ("a", "b")]


def test_inputs_that_are_tokens_are_counted_as_they_are() -> None:
    assert cut(Bounded(9, 3), (1, 2), (3,), (4, 5, 6), (7,)) == [((1, 2), (3,)), ((4, 5, 6),), ((7,),)]


def test_an_input_that_alone_is_too_long_goes_alone() -> None:
    assert cut(Bounded(9, 3), "a", "far too long", "b", "c") == [("a",), ("far too long",), ("b", "c")]
    assert cut(Bounded(9, 3), "far too long") == [("far too long",)]


@given(
    st.lists(st.one_of(st.text(), st.lists(st.integers(0, 9)).map(tuple)), min_size=1), st.integers(1, 5), st.integers()
)
def test_nothing_is_lost_and_no_batch_is_beyond_a_limit(inputs: list[Input], size: int, tokens: int) -> None:
    parts = cut(Bounded(size, tokens), *inputs)
    assert [one for part in parts for one in part] == inputs
    for part in parts:
        assert 1 <= len(part) <= size
        long = sum(byte_length(one) if isinstance(one, str) else len(one) for one in part)
        assert long <= tokens or len(part) == 1


@pytest.mark.parametrize(
    ("lane", "limits"),
    [(OpenAI, (2048, 300_000)), (Azure, (2048, 300_000)), (Voyage, (1000, 120_000)), (Gemini, (100, None))],
)
def test_lanes_keep_to_their_vendors_limits(lane: type[Lane], limits: tuple[int, int | None]) -> None:
    assert (lane.max_batch, lane.max_batch_tokens) == limits


NAN, INFINITE = float("nan"), float("inf")
GOOD = [0.6, 0.0, -0.8]
WRONG: list[tuple[list[list[float]], str]] = [
    ([GOOD], "wrong number of vectors"),
    ([GOOD, GOOD, GOOD], "wrong number of vectors"),
    ([], "wrong number of vectors"),
    ([GOOD, [0.6, 0.8]], "of different lengths"),
    ([[0.6, 0.8], GOOD], "of different lengths"),
    ([[], []], "an empty vector"),
    ([GOOD, []], "an empty vector"),
    ([GOOD, [0.0, -0.0, 0.0]], "vector of zeros"),
    ([GOOD, [0.6, NAN, 0.0]], "NaN or infinity"),
    ([[-NAN, NAN, NAN], GOOD], "NaN or infinity"),
    ([GOOD, [INFINITE, 0.0, -INFINITE]], "NaN or infinity"),
    ([GOOD, [0.0, 0.0, -1e39]], "NaN or infinity"),
]


@pytest.mark.parametrize("as_array", [False, True], ids=["numbers", "array"])
@pytest.mark.parametrize(("vectors", "why"), WRONG)
def test_invalid_vectors_are_refused_with_the_reason(vectors: list[list[float]], why: str, as_array: bool) -> None:
    with pytest.raises(UpstreamError, match=why):
        check_vectors([array("f", vector) if as_array else vector for vector in vectors], 2)


@pytest.mark.parametrize("kind", [list, tuple, lambda vector: array("f", vector), lambda vector: array("d", vector)])
def test_vectors_are_any_sequences_of_numbers(kind: type[list[float]]) -> None:
    check_vectors([kind([1, 2.5]), kind([1e-30, 3.4e38])], 2)


@given(st.lists(st.floats(width=32), min_size=1, max_size=9).filter(any))
def test_arrays_are_looked_through_as_lists_are(numbers: list[float]) -> None:
    vector = array("f", numbers)
    if all(map(math.isfinite, vector)):
        check_vectors([vector], 1)
    else:
        with pytest.raises(UpstreamError):
            check_vectors([vector], 1)


@pytest.mark.parametrize("kind", [list, lambda vector: array("f", vector)], ids=["numbers", "array"])
def test_vectors_that_were_only_cut_are_made_of_unit_length(kind: type[list[float]]) -> None:
    made = normalized([kind([0.3, 0.4]), kind([0.0, 0.5])])
    assert [list(vector) for vector in made] == [pytest.approx([0.6, 0.8]), [0.0, 1.0]]


@pytest.mark.parametrize("length", [1, 1.0005, 0.9995])
def test_vectors_that_are_of_unit_length_are_left_as_they_are(length: float) -> None:
    vectors: Sequence[Sequence[float]] = [[0.6 * length, 0.8 * length]]
    assert normalized(vectors) is vectors
    assert normalized([[0.6 * 1.002, 0.8 * 1.002]]) == [array("f", [0.6, 0.8])]
