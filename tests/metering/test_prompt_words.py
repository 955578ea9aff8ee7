"""What a vendor quotes of a prompt is removed from its message."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaixu.metering.prompt_words import PIECE, STEP, prompt_texts, without_prompt
from kaixu.plugin.types import ChatRequest, Message, TextPart, ToolCallPart, ToolResultPart

PROMPT = "My neighbour Melanie\nhas a fever of 39 degrees."


@pytest.mark.parametrize(
    ("words", "cleaned"),
    [
        ("no such model", "no such model"),
        ("cannot process: My neighbour Melanie has a fever of 39 degrees. Try again", "cannot process: … Try again"),
        ("has a fever of 39 degrees.", "…"),
        ("bad text 'Melanie has a fever', and 'a fever of 39 degrees'", "bad text '…', and '…'"),
        ("", ""),
    ],
)
def test_quotations_are_removed(words: str, cleaned: str) -> None:
    assert without_prompt(words, [PROMPT, "short"]) == cleaned


@given(prompt=st.text(st.characters(codec="ascii", exclude_categories=["C", "Z"]), min_size=30), data=st.data())
def test_no_longer_run_of_a_prompt_is_left(prompt: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(prompt) - 20))
    words = data.draw(st.text(max_size=30)) + prompt[start : start + 20] + data.draw(st.text(max_size=30))
    left = without_prompt(words, [prompt])
    longest = PIECE + STEP
    assert not any(left[at : at + longest] in prompt for at in range(len(left) - longest + 1))


def test_every_text_of_a_request_counts() -> None:
    request = ChatRequest(
        model="m",
        max_tokens=1,
        messages=(
            Message("system", (TextPart("the system's text"),)),
            Message("assistant", (ToolCallPart("1", "f", '{"a": "arguments"}'),)),
            Message("tool", (ToolResultPart("1", (TextPart("a result"),)),)),
        ),
    )
    assert list(prompt_texts(request)) == ["the system's text", '{"a": "arguments"}', "a result"]
