"""The command line."""

from __future__ import annotations

import typer

app = typer.Typer(name="kaixu", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def main() -> None:
    """`kaixu`."""
    from .serve import register

    register(app)
    app()
