"""Libraries that people build on, the real ones: a turn with a tool call at every door, before every lane."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.three_stage import MODELS, VENDORS, ThreeStage
from tests.support.three_vendors import DONE

from .conftest import RESULT

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
#: The environment of the Python libraries, which `make agents` makes.
PYTHON = BIN.parent / "agents" / "bin" / "python"
PROGRAMS: dict[str, tuple[list[str], list[str]]] = {
    "Node": (
        [str(BIN / "node"), str(HERE / "node" / "turns.mjs")],
        ["Vercel AI SDK", "Vercel AI SDK (responses)", "Vercel AI SDK (messages)"],
    ),
    "Python": (
        [str(PYTHON), "-W", "ignore", str(HERE / "python" / "turns.py")],
        ["pydantic-ai", "pydantic-ai (responses)", "LlamaIndex"],
    ),
}


@pytest.mark.parametrize("lane", MODELS)
@pytest.mark.parametrize(("command", "clients"), PROGRAMS.values(), ids=PROGRAMS)
def test_a_turn_with_a_tool_call(stage: ThreeStage, lane: str, command: list[str], clients: list[str]) -> None:
    turns: list[Any] = [[client, MODELS[lane], stream] for client in clients for stream in (False, True)]
    done = subprocess.run(
        [*command, json.dumps(turns)],
        env={
            "PATH": os.environ["PATH"],
            "HOME": os.environ.get("HOME", "/"),
            "GATEWAY": stage.url,
            "KEY": stage.key,
            "TURNS": json.dumps(turns),
        },
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [DONE] * len(turns)
    assert stage.vendors.refused == []
    assert {asked.vendor for asked in stage.vendors.requests} == {VENDORS[lane]}
    assert len(stage.vendors.requests) == 2 * len(turns)
    assert [RESULT in result for result in stage.vendors.results()] == [True]
