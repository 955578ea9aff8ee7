"""Simon Willison's `llm`: `llm_cli.py` calls its command line, and these tests look at what it came to."""

from __future__ import annotations

import json

import pytest

from tests.vendors.stage import CAPITAL, COST_NUSD, MODELS

from .conftest import Results, Run
from .matrix import proves

CLIENT = "llm"
CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def results(run: Run) -> Results:
    """What it printed."""
    return run("llm_cli.py")


def said(result: dict[str, object]) -> object:
    """What it said, if it did not fail."""
    assert (result["exit"], result["error"]) == (0, "")
    return result["said"]


@proves(CLIENT, CHAT, "plain", MODELS)
def test_a_prompt(results: Results, lane: str) -> None:
    assert said(results[f"plain {lane}"]) == CAPITAL


@proves(CLIENT, CHAT, "streamed", MODELS)
def test_a_prompt_streamed(results: Results, lane: str) -> None:
    assert said(results[f"streamed {lane}"]) == CAPITAL


@proves(CLIENT, CHAT, "tools, streamed", MODELS)
def test_functions(results: Results, lane: str) -> None:
    assert said(results[f"tools {lane}"]) == "22 and 5 degrees."


@proves(CLIENT, CHAT, "structured output", MODELS)
def test_a_schema(results: Results, lane: str) -> None:
    assert json.loads(str(said(results[f"structured output {lane}"]))) == {"city": "Rome", "country": "Italy"}


@proves(CLIENT, CHAT, "errors")
@pytest.mark.parametrize(
    ("case", "words"),
    [("wrong", "key"), ("poor", "Monthly cap reached"), ("unknown", "nothing-of-ours")],
)
def test_refusals_are_told(results: Results, case: str, words: str) -> None:
    result = results[case]
    assert (result["exit"], result["said"]) == (1, "")
    assert words in str(result["error"])


def test_every_answer_was_billed(results: Results) -> None:
    """Each lane's three answers, and a tool of two turns."""
    calls = len(MODELS) * (3 + 2)
    assert results["billed"] == {"calls": calls, "cost_nusd": calls * COST_NUSD}
