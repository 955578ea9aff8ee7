"""Recorded requests of the clients that people use: both turns of a tool call, before every lane, plain and streamed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.three_stage import MODELS, VENDORS, ThreeStage, three_stage
from tests.support.three_vendors import DONE

RECORDED = Path(__file__).parent / "recorded"
RESULT = "42 degrees in Rome"
CALLS = {
    "Bash": {"command": "weather Rome", "description": "say it"},
    "exec_command": {"cmd": "weather Rome"},
    "weather": {"city": "Rome"},
}
#: The protocol of each door; a lane that speaks it gets the body as it was written.
SPOKEN = {"/v1/chat/completions": "openai", "/v1/messages": "anthropic", "/v1/responses": None}
RECORDINGS: list[dict[str, Any]] = [json.loads(path.read_text("utf-8")) for path in sorted(RECORDED.glob("*.json"))]


def door_of(recording: dict[str, Any]) -> str:
    """Its path, without the query."""
    return str(recording["door"]).partition("?")[0]


CASES = [
    pytest.param(
        recording,
        lane,
        id=f"{recording['client']}-{lane}",
        marks=pytest.mark.proves(recording["client"], door_of(recording), "tools, recorded", (lane,)),
    )
    for recording in RECORDINGS
    for lane in MODELS
]


@pytest.fixture(scope="module")
def stage(server_dsn: str, pristine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ThreeStage]:
    """One gateway for all; in the end its books balance."""
    with three_stage(server_dsn, pristine, tmp_path_factory.mktemp("recorded"), CALLS) as made:
        yield made
        made.check_books()


@pytest.fixture(scope="module")
def http(stage: ThreeStage) -> Iterator[httpx.Client]:
    """A client with the customer's key, in both places where clients put it."""
    headers = {"authorization": f"Bearer {stage.key}", "x-api-key": stage.key}
    with httpx.Client(base_url=stage.url, headers=headers, trust_env=False, timeout=30) as client:
        yield client


@pytest.mark.parametrize(("recording", "lane"), CASES)
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_both_turns_of_a_tool_call(
    stage: ThreeStage, http: httpx.Client, recording: dict[str, Any], lane: str, stream: bool
) -> None:
    stage.vendors.clear()
    first, second = (said(http, recording, turn, MODELS[lane], stream=stream) for turn in recording["turns"])
    assert stage.vendors.refused == []
    assert (tools_in(first), DONE in texts_in(second)) == ([recording["tool"]], True)
    [result] = stage.vendors.results()
    assert RESULT in result


@pytest.mark.parametrize("recording", RECORDINGS, ids=[recording["client"] for recording in RECORDINGS])
def test_only_what_a_client_goes_on_without_is_dropped_and_it_is_told(
    stage: ThreeStage, http: httpx.Client, recording: dict[str, Any]
) -> None:
    told: set[str] = set()
    lane = next(lane for lane, vendor in VENDORS.items() if vendor != SPOKEN[door_of(recording)])
    betas = {
        name for name in recording["dropped"] if name.startswith("anthropic-beta.")
    }  # which mean nothing to others
    for turn in recording["turns"]:
        answer = http.post(recording["door"], json=turn | {"model": MODELS[lane]}, headers=recording["headers"])
        told |= set(filter(None, answer.headers.get("x-kaixu-dropped-fields", "").split(", ")))
    assert told == set(recording["dropped"]) - betas


@pytest.mark.parametrize("recording", RECORDINGS, ids=[recording["client"] for recording in RECORDINGS])
def test_a_lane_that_only_repeats_takes_them_too(http: httpx.Client, recording: dict[str, Any]) -> None:
    for turn in recording["turns"]:
        answer = http.post(recording["door"], json=turn | {"model": "echo"}, headers=recording["headers"])
        assert answer.status_code == 200, answer.text


def said(http: httpx.Client, recording: dict[str, Any], turn: dict[str, Any], model: str, *, stream: bool) -> Any:
    """The whole answer, or the events of a stream."""
    body = turn | {"model": model, "stream": stream}
    answer = http.post(recording["door"], json=body, headers=recording["headers"])
    assert answer.status_code == 200, answer.text
    if not stream:
        return answer.json()
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: {")]
    return [json.loads(line) for line in lines]


def objects_in(value: Any) -> Iterator[dict[str, Any]]:
    """Every object, however deep."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from objects_in(inner)


def tools_in(answer: Any) -> list[str]:
    """The tools that were called, by the client's own names for them, each once."""
    names: dict[str, None] = {}
    for one in objects_in(answer):
        if one.get("type") in ("tool_use", "function_call", "custom_tool_call") and one.get("name"):
            names[one["name"]] = None
        for kind in ("function", "custom", "function_call"):
            inner = one.get(kind)
            if isinstance(inner, dict) and inner.get("name") and (kind == "function_call" or one.get("type") == kind):
                names[inner["name"]] = None
    return list(names)


def texts_in(answer: Any) -> str:
    """All texts, joined."""
    fields = ("content", "text", "delta")
    return "".join(one[field] for one in objects_in(answer) for field in fields if isinstance(one.get(field), str))
