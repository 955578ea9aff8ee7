"""Every lane behind every door, before a vendor's stand-in that speaks its protocol: answers, tools, bills."""

from __future__ import annotations

import pytest

from tests.support.aimock import Aimock

from .conftest import Ask, Payer
from .doors import DOORS, Said
from .stage import CAPITAL, COST_NUSD, INPUT_TOKENS, MODELS, OUTPUT_TOKENS, THOUGHT

COST_USD = "0.000028"

lanes = pytest.mark.parametrize("lane", MODELS)
doors = pytest.mark.parametrize("door", DOORS)
ways = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])


@lanes
@doors
@ways
async def test_an_answer_is_told_and_billed_as_the_vendor_counted(
    ask: Ask, aimock: Aimock, payer: Payer, lane: str, door: str, stream: bool
) -> None:
    said = await ask(door, lane, "What is the capital of Italy?", stream=stream)
    assert said == Said(
        text=CAPITAL,
        finish="stop",
        usage=(INPUT_TOKENS, OUTPUT_TOKENS),
        cost_usd=COST_USD,
        source="provider",
        begun=stream,
    )
    assert await payer.paid_nusd() == COST_NUSD
    assert await payer.events() == [
        {
            "end_reason": "complete",
            "usage_source": "provider",
            "input_tokens": INPUT_TOKENS,
            "output_tokens": OUTPUT_TOKENS,
            "cost_nusd": COST_NUSD,
        }
    ]
    assert len(aimock.journal()) == 1


@lanes
@doors
@ways
async def test_a_tool_is_called_and_its_answer_goes_back(
    ask: Ask, aimock: Aimock, payer: Payer, lane: str, door: str, stream: bool
) -> None:
    words = "How is the weather in Rome and Oslo?"
    first = await ask(door, lane, words, stream=stream, tools=True)
    assert (first.status, first.text, first.finish) == (200, "", "tool_calls")
    assert [call.said for call in first.calls] == [("weather", {"city": "Rome"}), ("weather", {"city": "Oslo"})]
    assert len({call.id for call in first.calls}) == 2
    calls, results = tuple(first.calls), ("22 degrees", "5 degrees")
    second = await ask(door, lane, words, stream=stream, tools=True, calls=calls, results=results)
    assert (second.text, second.finish, second.calls) == ("22 and 5 degrees.", "stop", [])
    assert await payer.paid_nusd() == 2 * COST_NUSD
    told = aimock.journal()[-1]["body"]
    [asked] = [turn for turn in told["messages"] if turn["role"] == "assistant"]
    assert [call["function"]["name"] for call in asked["tool_calls"]] == ["weather", "weather"]
    answers = [turn for turn in told["messages"] if turn["role"] == "tool"]
    assert len(answers) == 2
    for answer, result in zip(answers, results, strict=True):
        assert result in str(answer["content"])
    assert [tool["function"]["name"] for tool in told["tools"]] == ["weather"]


@lanes
@doors
@ways
async def test_what_the_model_thought_is_told_apart_from_what_it_said(
    ask: Ask, payer: Payer, lane: str, door: str, stream: bool
) -> None:
    said = await ask(door, lane, "Please think about Italy.", stream=stream)
    assert (said.text, said.finish) == (CAPITAL, "stop")
    assert said.reasoning == THOUGHT
    assert await payer.paid_nusd() == COST_NUSD


@lanes
@doors
@ways
async def test_an_answer_that_reached_its_length_says_so(ask: Ask, lane: str, door: str, stream: bool) -> None:
    said = await ask(door, lane, "Tell me something too long.", stream=stream)
    assert (said.text, said.finish) == ("The capital of", "length")


@lanes
@doors
async def test_the_vendor_is_told_what_was_asked(ask: Ask, aimock: Aimock, lane: str, door: str) -> None:
    stop = {"stop_sequences": ["END"]} if door == "anthropic" else {"stop": ["END"]}
    fields = {"max_tokens": 99, "temperature": 0.5, **stop}
    await ask(door, lane, "What is the capital of Italy?", fields=tuple(fields.items()))
    [entry] = aimock.journal()
    body = entry["body"]
    assert body["stream"] is (lane == "gemini")  # the others answer in one piece, too
    assert (
        body["model"]
        == {"openai": "gpt-4.1-mini", "anthropic": "claude-sonnet-4-5", "gemini": "gemini-2.5-flash"}[lane]
    )
    assert (body.get("max_tokens") or body["max_completion_tokens"], body["temperature"]) == (99, 0.5)
    assert body["messages"][-1]["role"] == "user"
