"""How a command fails: one line on stderr, a hint, exit code 1; never a traceback for what was to be expected."""

from __future__ import annotations


class CommandFailed(Exception):
    """Something that was to be expected keeps a command from its work; `said` is what to tell."""

    def __init__(self, said: str, hint: str | None) -> None:
        super().__init__(said)
        self.said = said
        self.hint = hint


def fail(error: object, *, hint: str | None = None) -> CommandFailed:
    """What ends a command with 1."""
    return CommandFailed(str(error), hint)
