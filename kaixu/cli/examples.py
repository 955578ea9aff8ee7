"""Examples in the help of commands."""

from __future__ import annotations


def example(words: str) -> str:
    """The example below a command's help."""
    return f"Example: kaixu {words}"
