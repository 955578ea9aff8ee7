"""docs/operators/import.md: its commands run, and its tables name what the translators know."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.kaixu import run_kaixu
from tests.support.other_gateways import litellm_sql
from tests.support.process import SECRETS

from .pages import text_of

PAGE = text_of("docs/operators/import.md")


def test_its_commands_run(tmp_path: Path, dsn: str) -> None:
    litellm_sql(tmp_path)
    [block] = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    lines = [line.partition("#")[0].split() for line in block.splitlines()]
    assert len(lines) == 3
    for program, *words in lines:
        assert program == "kaixu"
        ran = run_kaixu(
            *words,
            environment={"PATH": "/usr/bin:/bin", "DATABASE_URL": dsn, "KAIXU_HOME": str(tmp_path), **SECRETS},
            folder=tmp_path,
        )
        assert ran.returncode == 0, ran.stderr
    assert "plugin: anthropic" in (tmp_path / "lanes.yaml").read_text()
