"""`kaixu plugins`: what is loaded, from where, and in which state."""

from __future__ import annotations

import typer

from .examples import example
from .report import print_rows
from .session import AsJson, catalog_of, settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=example("plugins --json"))(plugins)


def plugins(as_json: AsJson = False) -> None:
    """Every plugin that kaixu.yaml names: name, kind, source, version, state."""
    catalog = catalog_of(settings())
    print_rows(
        [
            {
                "name": one.name,
                "kind": one.kind,
                "source": one.source,
                "where": one.where,
                "version": one.version,
                "state": one.state,
                "reason": one.reason,
            }
            for one in catalog.plugins
        ],
        as_json=as_json,
        title="plugins",
    )
