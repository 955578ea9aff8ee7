"""Reported tokens are billed once, each kind at its own rate, and never less than the vendor's total."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kaixu_anthropic import Anthropic, AnthropicOptions
from kaixu_azure import Azure, AzureOptions
from kaixu_gemini import Gemini, GeminiOptions
from kaixu_openai import OpenAI, OpenAIOptions

from kaixu.plugin import (
    ChatDelta,
    ChatEvent,
    Finish,
    Lane,
    ReasoningDelta,
    RunningUsage,
    Usage,
    embedding_usage_of,
    usage_of,
)
from kaixu.plugin.testing import Answer, event_stream, json_answer
from tests.support.size import examples

from .billing import HELLO, nusd, settled, ticket_for
from .usages import ANTHROPIC, GEMINI, OPENAI, Recorded, usage

ALL = OPENAI | GEMINI | ANTHROPIC
Answering = Callable[[Recorded], Answer]


def openai() -> Lane:
    return OpenAI(OpenAIOptions.model_validate({"api_key": "k"}))


def azure() -> Lane:
    return Azure(AzureOptions.model_validate({"api_key": "k", "endpoint": "https://mine.openai.azure.com"}))


def gemini() -> Lane:
    return Gemini(GeminiOptions.model_validate({"api_key": "k"}))


def anthropic() -> Lane:
    return Anthropic(AnthropicOptions.model_validate({"api_key": "k"}))


def text(words: str) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": words}}]}


END: dict[str, Any] = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


def last_chunk(reported: Recorded) -> Answer:
    """The usage in the last chunk."""
    return event_stream(text("hi"), END, reported.chunk)


def every_chunk(reported: Recorded) -> Answer:
    """Usage in every chunk, equal or null: running totals that must not be added up."""
    chunks = [reported.chunk | {"choices": one["choices"]} for one in (text("h"), text("i"))]
    chunks = [reported.chunk] * 2 if reported.chunk.get("choices") else chunks
    return event_stream(text("h") | {"usage": None}, *chunks, END, reported.chunk, reported.chunk)


def in_one_piece(reported: Recorded) -> Answer:
    """The whole response in one piece."""
    choice: dict[str, Any] = {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
    choice |= {
        name: value for one in reported.chunk.get("choices", []) for name, value in one.items() if name == "usage"
    }
    return json_answer(reported.chunk | {"choices": [choice]})


def of_gemini(reported: Recorded) -> Answer:
    candidate = {"content": {"parts": [{"text": "hi"}]}, "finishReason": "STOP"}
    return event_stream({"candidates": [candidate]} | reported.chunk, reported.chunk, done=False)


def of_anthropic(reported: Recorded) -> Answer:
    figures = reported.chunk["usage"]
    return event_stream(
        {"type": "message_start", "message": {"content": [], "usage": figures | {"output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "hi"}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": figures},
        {"type": "message_stop"},
        done=False,
    )


@pytest.mark.parametrize("name", ALL)
def test_each_token_is_in_one_figure(name: str) -> None:
    chunk, expected, total = ALL[name]
    reported = usage_of(chunk)
    assert reported == expected
    assert reported.input_tokens + reported.output_tokens >= total
    assert usage_of(chunk.get("usage", chunk)) == expected, "the usage alone says the same"


@pytest.mark.parametrize("lane", [openai, azure], ids=["openai", "azure"])
@pytest.mark.parametrize("answering", [last_chunk, every_chunk, in_one_piece], ids=lambda one: one.__name__)
@pytest.mark.parametrize("name", OPENAI)
async def test_openai_compatible_vendors_are_billed_rightly(
    name: str, answering: Answering, lane: Callable[[], Lane]
) -> None:
    await billed_rightly(lane(), answering(OPENAI[name]), OPENAI[name])


@pytest.mark.parametrize("name", GEMINI)
async def test_gemini_is_billed_rightly(name: str) -> None:
    await billed_rightly(gemini(), of_gemini(GEMINI[name]), GEMINI[name])


@pytest.mark.parametrize("name", ANTHROPIC)
async def test_anthropic_is_billed_rightly(name: str) -> None:
    await billed_rightly(anthropic(), of_anthropic(ANTHROPIC[name]), ANTHROPIC[name])


async def billed_rightly(lane: Lane, answer: Answer, reported: Recorded) -> None:
    bill = await settled(lane, answer)
    only_thoughts = reported.usage.output_tokens == reported.usage.reasoning_tokens
    assert bill.input_tokens + bill.output_tokens >= reported.total
    assert bill.input_tokens == reported.usage.input_tokens
    assert bill.cached_input_tokens == reported.usage.cached_input_tokens
    assert bill.cache_write_tokens == reported.usage.cache_write_tokens
    # "hi" is a token of its own where the vendor told of none beside the reasoning.
    assert bill.output_tokens == reported.usage.output_tokens + (1 if only_thoughts else 0)
    assert bill.usage_source == ("counted" if only_thoughts else "provider")
    billed = Usage(bill.input_tokens, bill.output_tokens, bill.cached_input_tokens, bill.cache_write_tokens)
    assert bill.cost_nusd == nusd(billed)


WORDS = "word " * 500  # 625 tokens by our count


@pytest.mark.parametrize(
    ("chunk", "inputs", "outputs"),
    [
        (usage(prompt_tokens=100, total_tokens=100), 100, 625),
        (usage(prompt_tokens=100, completion_tokens=0), 100, 625),
        (usage(prompt_tokens=100, completion_tokens=None), 100, 625),
        (usage(prompt_tokens=100, completion_tokens=-5), 100, 625),
        (usage(prompt_tokens=100, completion_tokens="many"), 100, 625),
        (usage(prompt_tokens=100, completion_tokens=3, total_tokens=103), 100, 625),
        (usage(completion_tokens=640), 34, 640),
        (usage(prompt_tokens=0, completion_tokens=640), 34, 640),
        (usage(total_tokens=900), 34, 866),
        (usage(total_tokens=40), 34, 625),
        (usage(), 34, 625),
        ({"choices": [], "usage": "none"}, 34, 625),
        ({"choices": []}, 34, 625),
    ],
    ids=[
        "no completion", "zero", "null", "negative", "text", "too few to be true", "no input", "input zero", "total only",
        "total too small", "empty", "another shape", "nothing",
    ],
)  # fmt: skip
@pytest.mark.parametrize("early", [False, True], ids=["last", "first"])
async def test_what_the_vendor_does_not_tell_is_counted(
    chunk: dict[str, Any], inputs: int, outputs: int, early: bool
) -> None:
    chunks = [chunk, text(WORDS), END] if early else [text(WORDS), END, chunk]
    bill = await settled(openai(), event_stream(*chunks))
    assert (bill.input_tokens, bill.output_tokens, bill.usage_source) == (inputs, outputs, "counted")
    assert bill.cost_nusd == nusd(Usage(inputs, outputs))


@pytest.mark.parametrize("reported", [{}, {"usage": None}, {"usage": {}}, {"usage": {"output_tokens": 0}}], ids=str)
async def test_an_end_of_anthropic_s_without_usage_is_counted(reported: dict[str, Any]) -> None:
    figures = {"input_tokens": 3, "cache_read_input_tokens": 7, "output_tokens": 1}
    answer = event_stream(
        {"type": "message_start", "message": {"content": [], "usage": figures}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": WORDS}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, **reported},
        {"type": "message_stop"},
        done=False,
    )
    bill = await settled(anthropic(), answer)
    assert (bill.input_tokens, bill.cached_input_tokens, bill.output_tokens) == (10, 7, 625)
    assert bill.usage_source == "counted"


@pytest.mark.parametrize(
    ("figures", "outputs"),
    [
        ({"promptTokenCount": 50}, 625),
        ({"promptTokenCount": 50, "totalTokenCount": 50}, 625),
        ({"promptTokenCount": 50, "thoughtsTokenCount": 100, "totalTokenCount": 150}, 725),
        ({"promptTokenCount": 50, "candidatesTokenCount": 0, "thoughtsTokenCount": 100}, 725),
    ],
    ids=["nothing", "a total of the input", "thoughts only", "zero beside thoughts"],
)
async def test_candidates_that_gemini_does_not_count_are_counted(figures: dict[str, Any], outputs: int) -> None:
    candidate = {"content": {"parts": [{"text": WORDS}]}, "finishReason": "STOP"}
    bill = await settled(gemini(), event_stream({"candidates": [candidate], "usageMetadata": figures}, done=False))
    assert (bill.input_tokens, bill.output_tokens, bill.usage_source) == (50, outputs, "counted")


async def test_an_answer_without_text_costs_its_reported_input() -> None:
    filtered = {"choices": [{"index": 0, "delta": {}, "finish_reason": "content_filter"}]}
    bill = await settled(openai(), event_stream(filtered, usage(prompt_tokens=100, completion_tokens=0)))
    assert (bill.input_tokens, bill.output_tokens, bill.usage_source) == (100, 0, "provider")


@pytest.mark.parametrize(
    "figures",
    [
        {"prompt_tokens": 30, "completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 400_000}},
        {"prompt_tokens": 30, "completion_tokens": 400_000},
        {"prompt_tokens": 30, "completion_tokens": 5, "total_tokens": 400_000},
        {"prompt_tokens": 30, "completion_tokens": 10**30},
    ],
    ids=["reasoning", "completion", "total", "beyond all reason"],
)
async def test_output_that_max_tokens_does_not_allow_costs_no_more_than_the_hold(figures: dict[str, Any]) -> None:
    request = msgspec.structs.replace(HELLO, max_tokens=20)
    bill = await settled(openai(), event_stream(text("hi"), END, usage(**figures)), request)
    assert bill.cost_nusd <= ticket_for(openai(), request).granted_nusd < 1_000_000


@pytest.mark.parametrize(
    ("events", "outputs"),
    [
        ([Usage(10, 5, reasoning_tokens=400_000), ChatDelta("hi")], 6),
        ([ChatDelta("hi"), Usage(10, 5, reasoning_tokens=400_000)], 6),
        ([ReasoningDelta("hm " * 100), Usage(10, 75, reasoning_tokens=75)], 75),
    ],
    ids=["too much reasoning, then text", "text, then too much reasoning", "reasoning alone"],
)
def test_figures_of_any_lane_are_clamped(events: list[ChatEvent], outputs: int) -> None:
    ticket = ticket_for(openai(), HELLO)
    for event in [*events, Finish("stop")]:
        ticket.count_event(event)
    bill = ticket.bill("complete")
    assert (bill.output_tokens, bill.reasoning_tokens) == (outputs, min(bill.reasoning_tokens, outputs))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"usage": {"prompt_tokens": 8, "total_tokens": 8}}, Usage(8)),
        ({"usage": {"total_tokens": 8}}, Usage(8)),
        ({"usage": {"prompt_tokens": 8, "total_tokens": 10}}, Usage(10)),
        ({"usage": {"prompt_tokens": "8"}}, Usage(8)),
        ({"prompt_eval_count": 8}, Usage(8)),
        ({"usageMetadata": {"promptTokenCount": 8}}, Usage(8)),
        ({"usage": {}}, None),
        ({}, None),
    ],
)
def test_vectors_have_no_output(answer: dict[str, Any], expected: Usage | None) -> None:
    assert embedding_usage_of(answer) == expected


def names_in(value: object) -> list[str]:
    """Every field's name."""
    if isinstance(value, dict):
        return [name for key, inner in value.items() for name in (key, *names_in(inner))]
    return [name for inner in value for name in names_in(inner)] if isinstance(value, list) else []


NAMES = sorted({name for one in ALL.values() for name in names_in(one.chunk)})


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(NAMES),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
@settings(max_examples=examples(200), deadline=None)
def test_nothing_that_a_vendor_may_say_makes_figures_that_cannot_be(body: object) -> None:
    reported, running = usage_of(body), RunningUsage().add(body)
    assert reported == running
    if reported is not None:
        assert (
            min(reported.input_tokens, reported.output_tokens, reported.cached_input_tokens, reported.reasoning_tokens)
            >= 0
        )
        assert reported.cached_input_tokens + reported.cache_write_tokens <= reported.input_tokens
        assert reported.reasoning_tokens <= reported.output_tokens
