"""CONTRIBUTING.md names only files, commands and tests that exist."""

from __future__ import annotations

import re
from importlib.util import find_spec

import pytest

from .pages import ROOT, text_of

PAGE = text_of("CONTRIBUTING.md")
CODE = [part for span in re.findall(r"`([^`\n]+)`", PAGE) for part in span.split()]
#: Top-level names of the repository; a code span that begins with one is a path.
TOP = {path.name for path in ROOT.iterdir()}
PATHS = sorted({part for part in CODE if part.split("/")[0] in TOP and ("/" in part or "." in part)})
MAKEFILE = text_of("Makefile")
TARGETS = sorted(set(re.findall(r"`make ([a-z-]+)", PAGE)))
ROOMS = sorted(path.name for path in (ROOT / "kaixu").iterdir() if path.is_dir() and any(path.glob("*.py")))


@pytest.mark.parametrize("path", PATHS)
def test_every_path_exists(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize("target", TARGETS)
def test_every_make_target_exists(target: str) -> None:
    assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE)


@pytest.mark.parametrize("module", sorted(set(re.findall(r"-m (kaixu[\w.]+)", PAGE))))
def test_every_module_exists(module: str) -> None:
    assert find_spec(module) is not None


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_has_its_line(room: str) -> None:
    assert f"| `kaixu/{room}` |" in PAGE


def test_the_page_names_files_targets_and_modules() -> None:
    assert len(PATHS) > 80
    assert len(TARGETS) > 5
