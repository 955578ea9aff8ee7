"""The profile's report: samples by room, by library and by function."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.profile import Function, parse_function, report, sample, shares_of

SITE = "/srv/.venv/lib/python3.11/site-packages"
LOOP = "run (/usr/lib/python3.11/asyncio/runners.py);serve (/srv/kaixu/cli/serve.py)"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Gate.ask (/srv/kaixu/metering/gate.py)", ("Gate.ask", "kaixu/metering/gate.py", "kaixu/metering", True)),
        ("Gate.ask (/srv/kaixu/metering/gate.py:20)", ("Gate.ask", "kaixu/metering/gate.py", "kaixu/metering", True)),
        ("chat (/srv/plugins/lanes/kaixu_openai.py)", ("chat", "plugins/lanes/kaixu_openai.py", "plugins/lanes", True)),
        ("f.<locals>.g (/srv/kaixu/assets.py)", ("f.<locals>.g", "kaixu/assets.py", "kaixu", True)),
        (f"send ({SITE}/h11/_connection.py)", ("send", "h11/_connection.py", "h11", False)),
        (f"cast ({SITE}/typing_extensions.py)", ("cast", "typing_extensions.py", "typing_extensions", False)),
        ("run (/usr/lib/python3.11/asyncio/runners.py)", ("run", "asyncio/runners.py", "asyncio", False)),
        ("digest (/usr/lib/python3.11/hmac.py)", ("digest", "hmac.py", "hmac", False)),
        ("<module> (<string>)", ("<module>", "<string>", "<string>", False)),
        ("process 12", ("process 12", "", "interpreter", False)),
    ],
    ids=["ours", "with a line", "plugin", "top", "library", "module", "standard", "standard module", "text", "no file"],
)
def test_a_frame_belongs_to_a_room_or_a_library(text: str, expected: tuple[str, str, str, bool]) -> None:
    assert parse_function(text) == Function(*expected)


def test_libraries_count_for_themselves_and_for_the_room_that_called_them() -> None:
    shares = shares_of(
        f"{LOOP};Exchange.serve (/srv/kaixu/edge/exchange.py) 3\n"
        f"{LOOP};Exchange.serve (/srv/kaixu/edge/exchange.py);send ({SITE}/h11/_connection.py) 5\n"
        f"{LOOP} 2\n"
        "not a line of samples\n"
    )
    assert shares.samples == 10
    assert shares.own == {"kaixu/edge": 3, "kaixu/cli": 2}
    assert shares.libraries == {"h11": 5}
    assert shares.called == {"kaixu/edge": 8, "outside of ours: server, event loop": 2}
    text = report(shares)
    assert "| kaixu/edge | 30.0% | 80.0% |" in text
    assert "| h11 | 50.0% |" in text
    assert "| `send` | h11/_connection.py | 50.0% |" in text


def test_a_profile_without_samples_is_still_a_report() -> None:
    assert "By library" in report(shares_of(""))


def test_the_profiler_reads_a_running_process_or_says_why_it_cannot(tmp_path: Path) -> None:
    program = tmp_path / "busy.py"
    program.write_text("def work():\n    while True:\n        sum(range(1000))\n\nwork()\n")
    busy = subprocess.Popen([sys.executable, program], env={**os.environ, "PYTHONPATH": ""})
    refused, functions = "", set[str]()
    try:
        shares = shares_of(sample(busy.pid, 2, tmp_path / "stacks.txt"))
        functions = {function.name for function in shares.functions}
    except SystemExit as error:  # some containers let nobody read another process
        refused = str(error)
    finally:
        busy.kill()
        busy.wait(30)
    assert "work" in functions or ("py-spy cannot read" in refused and "ermi" in refused), refused
