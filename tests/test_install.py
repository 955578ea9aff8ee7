"""`locks/install.py`: says how far it is, and keeps pip's words for the case that it fails."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


def loaded(path: Path) -> Any:
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


INSTALL = loaded(ROOT / "locks" / "install.py")
Progress, run = INSTALL.Progress, INSTALL.run

PIP_SAYS = """\
WARNING: Location 'file:///nowhere/' is ignored: it is neither a file nor a directory.
Ignoring colorama: markers 'sys_platform == "win32"' don't match your environment
Collecting small==1.0 (from -r locks/local.txt (line 1))
  Downloading small-1.0-py3-none-any.whl (12 kB)
Collecting large==2.0 (from -r locks/local.txt (line 4))
  Downloading https://index/large-2.0-cp311.whl (253.0 MB)
Requirement already satisfied: there==3.0 in /lib (from -r locks/local.txt (line 9))
Installing collected packages: small, large
"""


def test_what_how_much_and_which_step_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(4)
    for line in PIP_SAYS.splitlines():
        progress.read(line)
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "    package 2 of 3: downloading large-2.0-cp311.whl (253.0 MB)",
        "    unpacking 3 packages; 253 MB were downloaded",
    ]


@pytest.mark.parametrize("fails", [True, False])
def test_pip_s_words_are_shown_only_where_it_fails(capsys: pytest.CaptureFixture[str], fails: bool) -> None:
    program = f"import sys; sys.stderr.write('WARNING: odd\\n'); sys.exit({int(fails)})"
    assert run([sys.executable, "-c", program], Progress(1)) == int(fails)
    said = capsys.readouterr()
    assert ("WARNING" in said.err, "WARNING" in said.out) == (fails, False)


def test_silence_is_broken(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(9)
    progress.read("Collecting large==2.0 (from x)")
    progress.told_at -= 60
    progress.still()
    progress.still()
    [line] = capsys.readouterr().out.splitlines()
    assert line == "    package 1 of 9: large==2.0 (still working, 0 s so far)"


def test_a_package_that_cannot_be_had_fails_with_pip_s_reason(tmp_path: Path) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text(f"nothing-of-the-kind==1.0 \\\n    --hash=sha256:{'0' * 64}\n")
    done = subprocess.run(
        [sys.executable, str(ROOT / "locks" / "install.py"), str(lock), "--packages-only"],
        env={"PATH": "/usr/bin", "PIP_NO_INDEX": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert done.stdout.startswith("==> 1 packages of ")
    assert "nothing-of-the-kind" in done.stderr
