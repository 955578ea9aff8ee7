"""The docs match the code: nothing missing, nothing stale, no dead links."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from kaixu.cli.lazy import COMMANDS
from kaixu.config.environment import Settings

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "schema").glob("*.md"),
        *(ROOT / "bench").glob("*.md"),
    ]
)
LINK = re.compile(r"\]\(([^)#\s]+)")


def test_generated_parts_are_fresh() -> None:
    subprocess.run([sys.executable, str(ROOT / "docs" / "generate.py"), "--check"], check=True)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text()):
        if "://" not in link:
            assert (page.parent / link).exists(), link


def test_every_environment_variable_is_in_the_docs() -> None:
    text = (ROOT / "docs" / "operators" / "configuration.md").read_text()
    for name in Settings.model_fields:
        assert f"`{name.upper()}`" in text


def test_commands_in_the_docs_exist() -> None:
    for page in PAGES:
        for word in re.findall(r"(?:^|`|bin/)kaixu ([a-z]+(?:-[a-z]+)*)", page.read_text(), re.MULTILINE):
            assert word in COMMANDS, f"{page.name}: kaixu {word}"
