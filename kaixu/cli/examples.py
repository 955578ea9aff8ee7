"""Examples in the help of commands."""

from __future__ import annotations


def example(words: str) -> str:
    """The line below a command's help that shows how it is used."""
    return f"Example: kaixu {words}"
