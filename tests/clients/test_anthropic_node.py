"""Anthropic's own client for Node: `anthropic.mjs` tries everything in one process, and these tests look at what it came to."""

from __future__ import annotations

import pytest

from tests.vendors.stage import CAPITAL, COST_NUSD, INPUT_TOKENS, MODELS, OUTPUT_TOKENS

from .conftest import Results, Run
from .matrix import proves

CLIENT = "anthropic (Node)"
MESSAGES = "/v1/messages"
USAGE = [INPUT_TOKENS, OUTPUT_TOKENS]


@pytest.fixture(scope="module")
def results(run: Run) -> Results:
    """What it printed."""
    return run("anthropic.mjs")


@proves(CLIENT, MESSAGES, "plain", MODELS)
def test_messages(results: Results, lane: str) -> None:
    model = f"{lane}/{MODELS[lane]}"
    assert results["chats"][lane]["plain"] == {"text": CAPITAL, "stop": "end_turn", "usage": USAGE, "model": model}


@proves(CLIENT, MESSAGES, "streamed", MODELS)
def test_messages_streamed(results: Results, lane: str) -> None:
    said = results["chats"][lane]["streamed"]
    assert said == {"text": CAPITAL, "stop": "end_turn", "usage": USAGE, "pieces": said.get("pieces")}
    assert said["pieces"] > 1


@proves(CLIENT, MESSAGES, "tools", MODELS)
def test_messages_with_tools(results: Results, lane: str) -> None:
    assert results["chats"][lane]["tools"] == {"text": "22 and 5 degrees.", "stop": "tool_use"}


@proves(CLIENT, MESSAGES, "tools, streamed", MODELS)
def test_messages_with_tools_streamed(results: Results, lane: str) -> None:
    assert results["chats"][lane]["tools, streamed"] == {"text": "22 and 5 degrees.", "stop": "tool_use"}


@proves(CLIENT, MESSAGES, "tool runner, thread off", MODELS)
def test_its_tool_runner(results: Results, lane: str) -> None:
    assert results["chats"][lane]["tool runner, thread off"] == {"text": "22 and 5 degrees."}


@proves(CLIENT, "/v1/messages/count_tokens", "count of tokens", MODELS)
def test_tokens_are_counted(results: Results, lane: str) -> None:
    assert results["chats"][lane]["count of tokens"] > 10


@proves(CLIENT, "/v1/models", "models")
def test_models(results: Results) -> None:
    assert results["models"] == ["gpt", "openai-vectors", "claude", "flash", "gemini-vectors"]


@proves(CLIENT, MESSAGES, "errors")
@pytest.mark.parametrize(
    ("case", "kind", "status", "type"),
    [
        ("wrong", "AuthenticationError", 401, "authentication_error"),
        ("poor", "PaymentRequiredError", 402, "billing_error"),
        ("slow", "RateLimitError", 429, "rate_limit_error"),
        ("unknown", "BadRequestError", 400, "invalid_request_error"),
        ("rejected", "BadRequestError", 400, "invalid_request_error"),
        ("failed", "InternalServerError", 502, "api_error"),
    ],
)
def test_failures_are_its_own_exceptions(results: Results, case: str, kind: str, status: int, type: str) -> None:
    assert results["failures"][case] == {"kind": kind, "status": status, "type": type, "named": True}


@proves(CLIENT, MESSAGES, "errors of the vendor", ["anthropic"])
def test_a_stream_that_breaks_off_is_an_exception(results: Results, lane: str) -> None:
    assert (results["failures"]["broken"]["kind"], results["failures"]["broken"]["type"]) == ("APIError", "api_error")


def test_every_answer_was_billed(results: Results) -> None:
    """Each lane's two answers and three tools of two turns each, and what it took to reach a limit."""
    calls = len(MODELS) * (2 + 3 * 2) + 1
    assert results["billed"] == {"calls": calls, "cost_nusd": calls * COST_NUSD}
