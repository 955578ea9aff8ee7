"""The command line: one file a command group; what a command needs is imported when it runs."""

from __future__ import annotations

import typer

app = typer.Typer(
    name="kaixu",
    help="The kAIxU Gateway.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """`kaixu`."""
    commands()()


def commands() -> typer.Typer:
    """Every command, registered once."""
    if not app.registered_commands:
        from . import check, customers, doctor, keys, migrate, plugins, reconcile, serve, usage

        for group in (serve, check, migrate, doctor, reconcile, plugins, customers, keys, usage):
            group.register(app)
    return app
