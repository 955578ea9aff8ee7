"""One stage for all of them, and where they are installed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.three_stage import ThreeStage, three_stage

RESULT = "42 degrees in Rome"
#: What the vendors call, of what a program offers: a command that says it, or a function of ours.
CALLS: dict[str, dict[str, Any]] = {
    "Bash": {"command": "echo $((40+2)) degrees in Rome", "description": "The weather in Rome"},
    "exec_command": {"cmd": "echo $((40+2)) degrees in Rome"},
    "shell_command": {"command": "echo $((40+2)) degrees in Rome"},
    "shell": {"command": ["bash", "-c", "echo $((40+2)) degrees in Rome"]},
    "weather": {"city": "Rome"},
}

HERE = Path(__file__).parent


def pytest_report_header() -> list[str]:
    """Which programs and libraries run, each with its version."""
    packages = json.loads((HERE / "node" / "package-lock.json").read_text())["packages"]
    wanted = [name for name in packages[""]["devDependencies"] if name != "zod"]
    node = [f"{name} {packages[f'node_modules/{name}']['version']}" for name in wanted]
    pins = re.findall(r"^([\w-]+)(?:\[\w+\])?==(\S+)", (HERE / "python" / "requirements.txt").read_text(), re.MULTILINE)
    python = [f"{name} {version}" for name, version in pins if name in ("llama-index-core", "pydantic-ai-slim")]
    return [f"tried, each with a tool call on every lane: {', '.join([*node, *python])}"]


@pytest.fixture(scope="session")
def staged(server_dsn: str, pristine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ThreeStage]:
    """The stage."""
    with three_stage(server_dsn, pristine, tmp_path_factory.mktemp("agents"), CALLS) as made:
        yield made


@pytest.fixture
def stage(staged: ThreeStage) -> Iterator[ThreeStage]:
    """The stage, with nothing asked yet; in the end all books balance."""
    staged.vendors.clear()
    yield staged
    staged.check_books()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty home for a program, so that it runs with its defaults."""
    made = tmp_path / "home"
    made.mkdir()
    return made
