"""OpenAI's own client for Node: `openai.mjs` tries everything in one process, and these tests look at what it came to."""

from __future__ import annotations

import pytest

from tests.vendors.stage import CAPITAL, COST_NUSD, DIMENSIONS, EMBEDDERS, INPUT_TOKENS, MODELS, OUTPUT_TOKENS

from .conftest import Results, Run
from .matrix import proves

CLIENT = "openai (Node)"
CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"
USAGE = [INPUT_TOKENS, OUTPUT_TOKENS]


@pytest.fixture(scope="module")
def results(run: Run) -> Results:
    """What it printed."""
    return run("openai.mjs")


@proves(CLIENT, CHAT, "plain", MODELS)
def test_chat(results: Results, lane: str) -> None:
    model = f"{lane}/{MODELS[lane]}"
    assert results["chats"][lane]["plain"] == {"text": CAPITAL, "finish": "stop", "usage": USAGE, "model": model}


@proves(CLIENT, CHAT, "streamed", MODELS)
def test_chat_streamed(results: Results, lane: str) -> None:
    said = results["chats"][lane]["streamed"]
    assert said == {"text": CAPITAL, "role": "assistant", "pieces": said.get("pieces"), "usage": USAGE}
    assert said["pieces"] > 1


@proves(CLIENT, CHAT, "tools", MODELS)
def test_chat_with_tools(results: Results, lane: str) -> None:
    assert results["chats"][lane]["tools"] == {"text": "22 and 5 degrees.", "asked": ["Rome", "Oslo"]}


@proves(CLIENT, CHAT, "tools, streamed", MODELS)
def test_chat_with_tools_streamed(results: Results, lane: str) -> None:
    assert results["chats"][lane]["tools, streamed"] == {"text": "22 and 5 degrees.", "asked": ["Rome", "Oslo"]}


@proves(CLIENT, RESPONSES, "plain", MODELS)
def test_responses(results: Results, lane: str) -> None:
    assert results["responses"][lane]["plain"] == {"text": CAPITAL, "status": "completed", "usage": USAGE}


@proves(CLIENT, RESPONSES, "streamed", MODELS)
def test_responses_streamed(results: Results, lane: str) -> None:
    said = results["responses"][lane]["streamed"]
    assert said == {"text": CAPITAL, "status": "completed", "pieces": said.get("pieces")}
    assert said["pieces"] > 1


@proves(CLIENT, RESPONSES, "tools", MODELS)
def test_responses_with_tools(results: Results, lane: str) -> None:
    assert results["responses"][lane]["tools"] == {"text": "22 and 5 degrees.", "asked": ["Rome", "Oslo"]}


@proves(CLIENT, "/v1/embeddings", "embeddings", EMBEDDERS)
def test_embeddings(results: Results, lane: str) -> None:
    assert results["embeddings"][lane] == [DIMENSIONS]


@proves(CLIENT, "/v1/models", "models")
def test_models(results: Results) -> None:
    assert results["models"] == ["gpt", "openai-vectors", "claude", "flash", "gemini-vectors"]


@proves(CLIENT, CHAT, "errors")
@pytest.mark.parametrize(
    ("case", "kind", "status", "code"),
    [
        ("wrong", "AuthenticationError", 401, "unauthenticated"),
        ("poor", "APIError", 402, "cap_reached"),
        ("slow", "RateLimitError", 429, "rate_limited"),
        ("unknown", "BadRequestError", 400, "unknown_model"),
        ("rejected", "BadRequestError", 400, "upstream_rejected"),
        ("failed", "InternalServerError", 502, "upstream_error"),
    ],
)
def test_failures_are_its_own_exceptions(results: Results, case: str, kind: str, status: int, code: str) -> None:
    assert results["failures"][case] == {"kind": kind, "status": status, "code": code, "named": True}


@proves(CLIENT, CHAT, "errors of the vendor", ["openai"])
def test_a_stream_that_breaks_off_is_an_exception(results: Results, lane: str) -> None:
    assert (results["failures"]["broken"]["kind"], results["failures"]["broken"]["code"]) == (
        "APIError",
        "upstream_error",
    )


def test_every_answer_was_billed(results: Results) -> None:
    """Each lane's four answers and three tools of two turns each, and what it took to reach a limit."""
    calls = len(MODELS) * (4 + 3 * 2) + 1
    assert results["billed"] == {"calls": calls, "cost_nusd": calls * COST_NUSD}
