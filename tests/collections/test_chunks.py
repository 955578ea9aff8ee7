"""Chunks can be joined again, and none is too long."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaixu.collections.chunks import Chunking, cut_text, join_chunks, parse_chunking, token_count
from kaixu.plugin.errors import Unprocessable

WORDS = st.sampled_from(
    [
        "a",
        "word",
        "sentence.",
        "Why?",
        "“So!”",
        "\n",
        "\n\n",
        " ",
        " " * 90,
        "\n\n\n",
        "x" * 100,
        "你好。",
        "語" * 30,
        "👍",
        "\u00a0",
        "é",
    ]
)
TEXTS = st.text() | st.lists(WORDS, max_size=60).map(" ".join) | st.lists(WORDS, max_size=60).map("".join)
BYS: tuple[Literal["tokens", "sentences"], ...] = ("tokens", "sentences")


@st.composite
def chunkings(draw: st.DrawFn) -> Chunking:
    """Any that is taken."""
    size = draw(st.integers(8, 64))
    return Chunking(size, draw(st.integers(0, size // 2)), draw(st.sampled_from(BYS)))


@given(TEXTS, chunkings())
def test_the_chunks_joined_are_the_text(text: str, chunking: Chunking) -> None:
    cut = cut_text(text, chunking)
    assert join_chunks(cut) == text
    assert all(text[start : start + len(part)] == part for start, part in cut)


@given(TEXTS, chunkings())
def test_chunks_exceed_their_size_only_by_blanks(text: str, chunking: Chunking) -> None:
    for _, part in cut_text(text, chunking):
        assert token_count(part.strip()) <= chunking.size


@given(TEXTS, chunkings())
def test_every_chunk_says_something_new_and_none_is_blank(text: str, chunking: Chunking) -> None:
    cut = cut_text(text, chunking)
    ends = [start + len(part) for start, part in cut]
    assert ends == sorted(set(ends))
    assert all(part.strip() for _, part in cut) or len(cut) == 1


@given(TEXTS, chunkings())
def test_no_more_than_the_overlap_is_repeated(text: str, chunking: Chunking) -> None:
    cut = cut_text(text, chunking)
    for (before, part), (start, _) in pairwise(cut):
        assert before < start <= before + len(part)
        assert token_count(text[start : before + len(part)]) <= chunking.overlap


def test_sentences_that_fit_are_not_split() -> None:
    text = "One is here. Two is there! “Is three?” Four ends。五。\n\nSix"
    assert [part for _, part in cut_text(text, Chunking(8, 0, "sentences"))] == [
        "One is here. Two is there! ",
        "“Is three?” ",
        "Four ends。五。\n\nSix",
    ]


def test_a_text_that_fits_is_one_chunk() -> None:
    assert cut_text("short", Chunking(8)) == [(0, "short")]


@given(st.lists(st.tuples(st.integers(0, 200), st.text(max_size=20)), max_size=8))
def test_joining_bears_chunks_that_never_were_one_text(parts: list[tuple[int, str]]) -> None:
    assert len(join_chunks(parts)) == max((start + len(part) for start, part in parts), default=0)


@pytest.mark.parametrize(
    "wrong",
    [
        5, "200", [], True, {}, {"size": 7}, {"size": 8193}, {"size": 1.5}, {"size": "9"}, {"size": True},
        {"size": 20, "overlap": 11}, {"size": 20, "overlap": -1}, {"size": 20, "by": "pages"}, {"size": 20, "overlap": None},
    ],
    ids=repr,
)  # fmt: skip
def test_a_way_of_cutting_that_is_none_is_refused_by_name(wrong: Any) -> None:
    with pytest.raises(Unprocessable) as raised:
        parse_chunking(wrong)
    assert (raised.value.field or "").startswith("chunk")
