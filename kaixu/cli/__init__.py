"""The command line: one file per group of commands, imported when it runs."""

from __future__ import annotations

import sys
from collections.abc import Callable

import typer

from .failure import CommandFailed
from .lazy import Commands
from .library_commands import leave_out_httpx_command

app = typer.Typer(
    name="kaixu", cls=Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)


@app.callback()
def kaixu() -> None:
    """The kAIxU Gateway."""


def main() -> None:
    """`kaixu`."""
    leave_out_httpx_command()
    run_command(app)


def run_command(command: Callable[[], object]) -> None:
    """Run a command; an expected failure is told in one or two lines, and is exit code 1."""
    try:
        command()
    except CommandFailed as error:
        typer.echo(error.message, err=True)
        if error.hint:
            typer.echo(error.hint, err=True)
        sys.exit(1)
    except OSError as error:
        if error.filename is None:
            raise
        typer.echo(f"{error.filename}: {error.strerror}", err=True)
        sys.exit(1)
