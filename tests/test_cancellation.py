"""Nothing swallows a cancellation: what is stopped does not go on."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_waits_have_a_timeout_that_passes_a_cancellation_on() -> None:
    """`asyncio.wait_for` of Python 3.11 returns a result instead, where that came at the same moment."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}: use `async with asyncio.timeout(…)`"
        for folder in ("kaixu", "plugins")
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "asyncio.wait_for"
    ]
    assert not found, "\n".join(found)
