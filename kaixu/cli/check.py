"""`kaixu check`: is kaixu.yaml right, do its plugins load, does the database answer? Every mistake at once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import typer

from kaixu.catalog.build import build
from kaixu.catalog.catalog import Catalog
from kaixu.config.document import Document, load
from kaixu.config.environment import EnvironmentMistake, settings_from_environment
from kaixu.config.mistakes import ConfigError
from kaixu.plugin.errors import PluginError

from .failure import CommandFailed, fail
from .report import print_record
from .session import AsJson, Session, with_database


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(check)


def check(
    as_json: AsJson = False,
    database: bool = typer.Option(True, help="Also look whether the database answers."),
) -> None:
    """Check kaixu.yaml, its plugins and the database; exit 1 with everything that is wrong."""
    wrong: list[str] = []
    path = Path(os.environ.get("KAIXU_CONFIG") or "kaixu.yaml")
    try:
        path = settings_from_environment().kaixu_config
    except EnvironmentMistake as error:
        wrong.append(str(error))
        database = False  # it is not known where that is
    catalog = catalog_at(path, wrong)
    version = None
    if database:
        try:
            version = with_database(server_version, migrated=False)
        except CommandFailed as error:
            wrong.append(error.said)
    if wrong or catalog is None:
        raise fail("\n".join(dict.fromkeys(wrong)))
    off = [f"{name} ({state.reason})" for name, state in catalog.lanes.items() if state.state == "off"]
    record: dict[str, Any] = {
        "config": str(path),
        "lanes": len(catalog.lanes),
        "models": len(catalog.deployments),
        "off": ", ".join(off) or None,
        "postgres": version,
    }
    print_record(record, as_json=as_json)


async def server_version(session: Session) -> str:
    """What answers."""
    return str(await session.pool.fetchval("show server_version"))


def catalog_at(path: Path, wrong: list[str]) -> Catalog | None:
    """What the file switches on; all that is wrong with it, and with its plugins, is added to `wrong`."""
    try:
        document = load(path, os.environ)
    except ConfigError as error:
        wrong += map(str, error.mistakes)
        return None
    folder = path.resolve().parent
    try:
        catalog = build(document, folder)
    except PluginError as error:
        wrong += [*mistakes_of(document, folder), *str(error).splitlines()]
        return None
    wrong += map(str, sorted(catalog.mistakes))
    said = "\n".join(wrong)
    wrong += [
        f"lane `{name}`: {state.reason}"
        for name, state in catalog.lanes.items()
        if state.state == "failed" and str(state.reason) not in said and f"lane `{name}`" not in said
    ]
    said = "\n".join(wrong)
    wrong += [
        f"plugin `{one.name}`: {one.reason}"
        for one in catalog.plugins
        if one.state == "failed" and str(one.reason) not in said
    ]
    return catalog


def mistakes_of(document: Document, folder: Path) -> list[str]:
    """What plugins find wrong with the file, where something that is required keeps it from being used at all."""
    try:
        build(document, folder, strict=True)
    except ConfigError as error:
        return [str(mistake) for mistake in error.mistakes]
    except PluginError:
        pass
    return []
