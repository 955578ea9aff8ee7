"""Token bounds are upper bounds, and estimates stay below them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kaixu.metering.counting import byte_length, estimated_tokens


@given(st.text())
def test_an_estimate_is_never_above_the_bound(text: str) -> None:
    assert 0 <= estimated_tokens(text) <= byte_length(text)
    assert (estimated_tokens(text) == 0) == (text == "")


def test_texts_are_estimated_by_their_script() -> None:
    assert estimated_tokens("The capital of Italy is Rome.") == 8
    assert estimated_tokens("東京は日本の首都です") == 10
