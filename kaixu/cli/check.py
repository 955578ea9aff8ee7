"""`kaixu check`: check kaixu.yaml, its plugins and the database, and print every error."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import typer

from kaixu.accounts.secret_fingerprints import sentence, wrong_secrets
from kaixu.catalog.build import assemble
from kaixu.catalog.catalog import Catalog
from kaixu.config.check import InvalidDocument
from kaixu.config.document import Document
from kaixu.config.environment import EnvironmentMistake, settings_from_environment
from kaixu.config.load import load
from kaixu.config.mistakes import ConfigError, Mistake
from kaixu.gateway.database import NO_SCHEMA, database_mistakes
from kaixu.gateway.environment import environment_for
from kaixu.gateway.link_notes import link_notes
from kaixu.gateway.plan_notes import plan_notes
from kaixu.gateway.reload import config_notes
from kaixu.gateway.section_notes import alias_notes
from kaixu.gateway.servers import require_server
from kaixu.plugin.errors import PluginError

from .examples import example
from .failure import CommandFailed, fail
from .report import print_json, print_record, print_rows
from .session import AsJson, CommandSession, with_database


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=example("check config/examples/minimal.yaml --no-database"))(check)


def check(
    file: Path = typer.Argument(None, help="The file; default: KAIXU_CONFIG."),
    as_json: AsJson = False,
    database: bool = typer.Option(True, help="Also check that the database answers."),
    live: bool = typer.Option(False, "--live", help="Also call each deployment once; your vendors bill that."),
    timeout_s: float = typer.Option(30.0, min=1, max=600, help="How long each of these calls may take, in seconds."),
) -> None:
    """Check kaixu.yaml, its plugins and the database; exit 1 with all errors."""
    wrong: list[str] = []
    path = file or Path(os.environ.get("KAIXU_CONFIG") or "kaixu.yaml")
    home = Path(os.environ.get("KAIXU_HOME") or ".kaixu")
    try:
        settings = settings_from_environment()
        path, home = file or settings.kaixu_config, settings.kaixu_home
    except EnvironmentMistake as error:
        wrong.append(str(error))
        database = False  # its address is unknown
    environment = environment_for(home)
    notes: list[str] = []
    catalog = catalog_at(path, wrong, notes, environment.variables)
    version = None
    if database:
        try:
            server = with_database(examine, migrated=False)
            version = server.version
            wrong += server.wrong
        except CommandFailed as error:
            wrong.append(error.message)
    if wrong or catalog is None:
        if as_json:
            print_json({"config": str(path), "wrong": wrong, "environment": environment.owner})
        raise fail("\n".join(wrong))
    off = [f"{one.name} ({one.reason})" for _, one in catalog.sections() if one.state == "off"]
    record: dict[str, Any] = {
        "config": str(path),
        "lanes": len(catalog.lanes),
        "models": len(catalog.deployments),
        "off": ", ".join(off) or None,
        "postgres": version,
        "environment": environment.owner,
    }
    answers: list[dict[str, Any]] = []
    if live:
        from .live_check import call_deployments  # plain checks do not load the HTTP client

        answers = call_deployments(catalog, timeout_s=timeout_s)
    more = {"notes": notes} | ({"live": answers} if live else {})
    print_record(record | (more if as_json else {}), as_json=as_json)
    if live and not as_json:
        print_rows(answers, as_json=False, title="\nlive")
    for note in notes:
        typer.echo(f"note: {note}", err=True)
    if any(one["state"] == "wrong" for one in answers):
        raise typer.Exit(1)


class Server(NamedTuple):
    """The version of the database server, and what a gateway could not work with."""

    version: str
    wrong: list[str]


async def examine(session: CommandSession) -> Server:
    """Look at the database: its version, pgvector, a pooler, and whether our secrets are its own."""
    pool, settings = session.pool, session.settings
    version = str(await pool.fetchval("show server_version"))
    wrong = await database_mistakes(pool, pooler=settings.kaixu_pooler)
    names = await other_secrets(session)
    return Server(version, [*wrong, sentence(names)] if names else wrong)


async def other_secrets(session: CommandSession) -> list[str]:
    """The variables whose secret here is not the database's; none where that cannot be told."""
    try:
        return await wrong_secrets(session.pool, session.secrets)
    except (EnvironmentMistake, *NO_SCHEMA):  # no secrets here, or a database without their fingerprints
        return []


def catalog_at(
    path: Path, wrong: list[str], notes: list[str], environ: Mapping[str, str] = os.environ
) -> Catalog | None:
    """Load a file's catalog; its errors, and those of its plugins, are added to `wrong` once each.

    What is valid, but probably not intended, is added to `notes`.
    """
    mistakes: list[Mistake] = []
    document: Document | None
    catalog: Catalog | None = None
    usable = True
    try:
        document = load(path, environ)
    except ConfigError as error:
        mistakes += error.mistakes
        document = error.usable if isinstance(error, InvalidDocument) else None
        usable = False
    if document is not None:
        catalog = assemble(document, path.resolve().parent)
        mistakes += catalog.mistakes
    wrong += map(str, sorted(set(mistakes)))
    if catalog is not None:
        add_failures(catalog, wrong)
    if not usable or document is None or catalog is None:
        return None
    try:
        require_server(document.gateway.server)
        catalog.require()
    except PluginError as error:
        listed = "\n".join(wrong)
        wrong += [line for line in str(error).splitlines() if line.partition(": ")[2] not in listed]
        return None
    notes += [*config_notes(catalog), *alias_notes(catalog), *plan_notes(document, catalog)]
    has_mail = document.mail is not None
    notes += link_notes(document.selfservice, has_mail=has_mail, gateway_url=environ.get("GATEWAY_URL"))
    return catalog


def add_failures(catalog: Catalog, wrong: list[str]) -> None:
    """Add failures that `wrong` does not list yet."""
    failed = [(f"{kind} `{one.name}`", one.reason) for kind, one in catalog.sections() if one.state == "failed"]
    failed += [(f"plugin `{one.name}`", one.reason) for one in catalog.plugins if one.state == "failed"]
    for what, reason in failed:
        listed = "\n".join(wrong)
        if str(reason) not in listed and what not in listed:
            wrong.append(f"{what}: {reason}")
