"""Reads the pages of the docs and runs their code blocks."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.curl import install

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: Between what two blocks print.
MARK = "\x1f"


class Shown(NamedTuple):
    """Commands of a page, and the JSON reply that the page shows for them, if any."""

    commands: str
    reply: Any


def text_of(page: str) -> str:
    """The text of a page, by its path below the root."""
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    """The code blocks of one language."""
    return [code for name, code in BLOCK.findall(text) if name == language]


def shown(text: str) -> list[Shown]:
    """The shell blocks of a page, each with the JSON block that follows it."""
    found = BLOCK.findall(text)
    following = [*found[1:], ("", "")]
    return [
        Shown(code, json.loads(after) if language == "json" else None)
        for (name, code), (language, after) in zip(found, following, strict=True)
        if name == "sh"
    ]


async def run(
    commands: list[str], folder: Path, environment: Mapping[str, str], *, stand_in: bool = False
) -> list[str]:
    """Run shell blocks in order in one shell; returns the output of each.

    The machine's own `curl` is used, or ours where it has none; ours always with `stand_in`.
    """
    ours, machine = str(install(folder / "bin")), os.environ["PATH"]
    # The Python that runs us stands for `python3`, wherever the machine has its own.
    path = [str(Path(sys.executable).parent), *((ours, machine) if stand_in else (machine, ours))]
    script = f"\nprintf '{MARK}'\n".join(commands)
    process = await asyncio.create_subprocess_exec(
        "bash", "-euo", "pipefail", "-c", script,
        cwd=folder,
        env={"HOME": str(folder), **environment, "PATH": os.pathsep.join(path)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, errors = await process.communicate()
    assert process.returncode == 0, out.decode() + errors.decode()
    return out.decode().split(MARK)


def same_shape(told: Any, real: Any, at: str = "reply") -> None:
    """Raises `AssertionError` if a reply has other fields or types than its page shows; null has every type."""
    if told is None or real is None:
        return
    assert type(told) is type(real), f"{at}: the page shows {told!r}, the reply has {real!r}"
    if isinstance(told, dict):
        missing, gone = sorted(real.keys() - told.keys()), sorted(told.keys() - real.keys())
        assert not missing, f"{at}: the page lacks {missing}"
        assert not gone, f"{at}: the page shows {gone}, which the reply does not have"
        for name in told:
            same_shape(told[name], real[name], f"{at}.{name}")
    elif isinstance(told, list) and told and real:
        same_shape(told[0], real[0], f"{at}[0]")
