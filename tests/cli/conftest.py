"""The command line as scripts run it: in a pipe, with the test's database."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.kaixu import run_kaixu
from tests.support.process import SECRETS

CONFIG = "lanes:\n  echo:\n    plugin: echo\n    models:\n      chat: {type: chat, price: {input: 1, output: 2}}\n"

Piped = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def piped(tmp_path: Path, dsn: str) -> Piped:
    """Run `kaixu …` beside a kaixu.yaml that is right."""
    (tmp_path / "kaixu.yaml").write_text(CONFIG)

    def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        given = {"PATH": os.environ["PATH"], "DATABASE_URL": dsn, "KAIXU_HOME": str(tmp_path), **SECRETS}
        return run_kaixu(*words, environment=given | environment, folder=tmp_path)

    return run
