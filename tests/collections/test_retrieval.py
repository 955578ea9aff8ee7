"""Passages of a collection in a prompt."""

from __future__ import annotations

import pytest

from kaixu.collections.retrieval import INSTRUCTION, fit_passages, passages_prompt, question_text, quote
from kaixu.collections.search import Hit
from kaixu.plugin.errors import Unprocessable
from kaixu.plugin.types import ChatRequest, Message, TextPart


def hit(text: str) -> Hit:
    return Hit("doc", 0, 0, text, {}, 0.5)


def chat(*turns: tuple[str, str]) -> ChatRequest:
    messages = tuple(Message(role, (TextPart(text),)) for role, text in turns)  # type: ignore[arg-type]
    return ChatRequest(model="m", messages=messages, max_tokens=1)


def test_the_question_is_the_end_of_the_last_user_message_with_text() -> None:
    request = chat(("user", "first"), ("user", "x" * 8000 + "?"), ("assistant", "answer"), ("user", " "))
    assert question_text(request) == "x" * 7999 + "?"


@pytest.mark.parametrize("text", ["", "a\0b"], ids=["no text", "a NUL"])
def test_a_message_that_cannot_be_searched_for_is_refused(text: str) -> None:
    with pytest.raises(Unprocessable) as caught:
        question_text(chat(("system", "be brief"), ("user", text)))
    assert caught.value.field == "messages"


def test_passages_are_included_up_to_the_limit() -> None:
    passages = fit_passages([hit("aaaa"), hit("bbbb"), hit("cccc")], 6)
    assert [passage.text for passage in passages] == ["aaaa", "bb"]


def test_a_prompt_holds_numbered_quotations_and_then_the_instruction() -> None:
    assert passages_prompt([hit("one"), hit("two")]) == (
        f'Passage [1]: """one"""\n\nPassage [2]: """two"""\n\n{INSTRUCTION}\n\nQuestion: '
    )


def test_a_passage_cannot_end_its_own_quotation() -> None:
    assert quote('he said """stop"""') == '""""he said """stop"""""""'
