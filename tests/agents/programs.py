"""Claude Code and Codex CLI, the real programs: a turn with a tool call before every lane.

With their default configuration: they are told the gateway's address, a key and a model, and may run commands.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.three_stage import MODELS, VENDORS, ThreeStage
from tests.support.three_vendors import DONE

from .conftest import RESULT

BIN = Path(sys.executable).parent
MODULES = Path(__file__).parent / "node" / "node_modules"
CLAUDE_CODE = MODULES / "@anthropic-ai" / "claude-code" / "cli-wrapper.cjs"
CODEX = MODULES / "@openai" / "codex" / "bin" / "codex.js"
WEATHER = "How is the weather in Rome?"
#: What Codex's own documentation says to write for another provider.
CODEX_CONFIG = """
model = "{model}"
model_provider = "kaixu"

[model_providers.kaixu]
name = "kaixu"
base_url = "{url}/v1"
env_key = "KAIXU_KEY"
wire_api = "responses"
"""


def run(script: Path, *words: str, home: Path, **environment: str) -> str:
    """What a program says, run in an empty folder."""
    assert script.exists(), "its package is missing: run `make agents`"
    folder = home.parent / "work"
    folder.mkdir()
    done = subprocess.run(
        [str(BIN / "node"), str(script), *words],
        cwd=folder,
        env={"PATH": f"{BIN}:/usr/local/bin:/usr/bin:/bin", "HOME": str(home)} | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def assert_a_turn_was_finished(stage: ThreeStage, lane: str) -> None:
    """The tool was called, and its result arrived in the second request."""
    assert stage.vendors.refused == []
    assert {asked.vendor for asked in stage.vendors.requests} == {VENDORS[lane]}
    assert len(stage.vendors.requests) == 2
    [result] = stage.vendors.results()
    assert RESULT in result


@pytest.mark.parametrize("lane", MODELS)
def test_claude_code_finishes_a_turn_with_a_tool_call(stage: ThreeStage, home: Path, lane: str) -> None:
    said = run(
        CLAUDE_CODE,
        *("-p", WEATHER, "--allowedTools", "Bash"),
        home=home,
        ANTHROPIC_BASE_URL=stage.url,
        ANTHROPIC_API_KEY=stage.key,
        ANTHROPIC_MODEL=MODELS[lane],
    )
    assert DONE in said
    assert_a_turn_was_finished(stage, lane)


@pytest.mark.parametrize("lane", MODELS)
def test_codex_finishes_a_turn_with_a_tool_call(stage: ThreeStage, home: Path, lane: str) -> None:
    (home / ".codex").mkdir()
    (home / ".codex" / "config.toml").write_text(CODEX_CONFIG.format(model=MODELS[lane], url=stage.url))
    said = run(CODEX, "exec", "--skip-git-repo-check", WEATHER, home=home, KAIXU_KEY=stage.key)
    assert DONE in said
    assert_a_turn_was_finished(stage, lane)
