"""`kaixu plugin new`: what it writes is a package whose own tests pass, and that a gateway takes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kaixu.catalog.build import build
from kaixu.config.load import load

ROOT = Path(__file__).parents[2]


def kaixu(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kaixu", "plugin", "new", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("kind", "name", "config"),
    [
        ("lane", "my-vendor", "lanes: {mine: {plugin: ./kaixu-my-vendor/kaixu_my_vendor, api_key: k, models: {m: {type: chat}}}}"),
        ("integration", "notes", "integrations: {notes: {plugin: ./kaixu-notes/kaixu_notes, price: {note: 0.001}}}"),
    ],
)  # fmt: skip
def test_a_new_plugin_passes_its_own_tests_its_types_and_a_check(
    tmp_path: Path, kind: str, name: str, config: str
) -> None:
    made = kaixu(kind, name, folder=tmp_path)
    assert made.returncode == 0, made.stderr
    assert "pytest" in made.stdout
    folder = tmp_path / f"kaixu-{name}"
    module = f"kaixu_{name.replace('-', '_')}"
    site = tmp_path / "site"
    install = [
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps"),
        *("--no-build-isolation", "--target", str(site), str(folder)),
    ]
    subprocess.run(install, check=True, capture_output=True)
    tested = subprocess.run(
        [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio", "--rootdir", "."],
        cwd=folder, env={"PYTHONPATH": str(site), "PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert tested.returncode == 0, tested.stdout
    assert int(tested.stdout.split(" passed")[0].split()[-1]) >= 6
    typed = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--cache-dir", str(ROOT / ".mypy_cache" / "new-plugins"), str(folder / module), str(folder / "tests")],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert typed.stdout == ""
    linted = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--line-length", "120", "--select", "E,F,W,B,UP,SIM", "."],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert linted.returncode == 0, linted.stdout
    (tmp_path / "kaixu.yaml").write_text(config)
    catalog = build(load(tmp_path / "kaixu.yaml", {}), tmp_path, strict=True)
    assert [state.state for _, state in catalog.sections()] == ["on"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("lane", "Bad Name"), "is not a valid name"),
        (("lane", "../up"), "is not a valid name"),
        (("lane", "x" * 41), "is not a valid name"),
        (("lane", "openai"), "is a plugin already"),
        (("integration", "my-notes"), "Leave dashes out"),
        (("lane", "there"), "exists already"),
        (("lane", "new", "--path", "a-file"), "a-file"),
    ],
)
def test_what_cannot_be_written_is_said_in_a_line(tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    (tmp_path / "kaixu-there").mkdir()
    (tmp_path / "a-file").write_text("")
    done = kaixu(*words, folder=tmp_path)
    assert done.returncode == 1
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-file", "kaixu-there"]
