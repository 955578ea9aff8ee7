"""Expected failures of commands: a message and a hint on stderr, exit code 1, no traceback."""

from __future__ import annotations


class CommandFailed(Exception):
    """An expected failure of a command."""

    def __init__(self, message: str, hint: str | None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def fail(error: object, *, hint: str | None = None) -> CommandFailed:
    """The error that ends a command with exit code 1."""
    return CommandFailed(str(error), hint)
