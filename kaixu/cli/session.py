"""What commands need: settings, secrets, the database. Expected errors end a command in one line."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import asyncpg
import typer

from kaixu.accounts.secret_fingerprints import WrongSecrets, sentence, wrong_secrets
from kaixu.catalog.build import build
from kaixu.catalog.catalog import Catalog
from kaixu.config.database_errors import DatabaseRefused, MigrationError
from kaixu.config.environment import (
    EnvironmentMistake,
    Secrets,
    Settings,
    secrets_of,
    settings_from_environment,
)
from kaixu.config.load import load
from kaixu.config.mistakes import ConfigError
from kaixu.gateway.database import NO_SCHEMA, command_pool, database_address
from kaixu.ops.change_origin import CHANGE_ORIGIN, ChangeOrigin
from kaixu.plugin.errors import DatabaseAway, KaixuError, PluginError
from kaixu.plugin.operation import Integration

from .failure import fail
from .options import with_option_names

Answer = TypeVar("Answer")

#: `--json`, the same for every command.
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]

#: The actor and request id that commands name; the audit log writes `ORIGIN` for the actor.
ACTOR = "operator"
ORIGIN = "cli"
REQUEST_ID = "command-line"

CHECK_DATABASE = "Check DATABASE_URL, and whether the database runs."


class CommandSession:
    """The settings and database connections of one command."""

    def __init__(self, settings: Settings, pool: asyncpg.Pool, dsn: str) -> None:
        self.settings = settings
        self.pool = pool
        self.dsn = dsn

    @property
    def secrets(self) -> Secrets:
        """The gateway's secrets: from the environment, or stored by `kaixu serve --dev`."""
        return secrets_of(self.settings, dev=(self.settings.kaixu_home / "secrets.json").exists())

    async def own_secrets(self, *names: str) -> Secrets:
        """The secrets, for what is hashed or encrypted here with those of these variables.

        Raises `WrongSecrets` if one of them is not the database's.
        """
        secrets = self.secrets
        wrong = [name for name in await wrong_secrets(self.pool, secrets) if name in names]
        if wrong:
            raise WrongSecrets(sentence(wrong))
        return secrets

    async def pepper(self) -> str:
        """KEY_PEPPER, for keys, codes and tokens that are made here. Raises `WrongSecrets`."""
        return (await self.own_secrets("KEY_PEPPER")).key_pepper


def load_settings() -> Settings:
    """Load the settings; end the command if they are invalid."""
    try:
        return settings_from_environment()
    except EnvironmentMistake as error:
        raise fail(error) from None


def load_catalog(settings: Settings) -> Catalog:
    """Load kaixu.yaml with its plugins; end the command if it is invalid."""
    import os

    try:
        path = settings.kaixu_config
        return build(load(path, os.environ), path.resolve().parent)
    except (ConfigError, PluginError) as error:
        raise fail(error) from None


def declared_integrations() -> list[Integration]:
    """The integrations of kaixu.yaml that can be on; none where there is no such file."""
    settings = load_settings()
    return list(load_catalog(settings).declared) if settings.kaixu_config.exists() else []


def with_database(work: Callable[[CommandSession], Awaitable[Answer]], *, migrated: bool = True) -> Answer:
    """Run `work` with connections to the gateway's database; `migrated`: migrate the schema first.

    Expected errors end the command in one line.
    """
    settings = load_settings()

    CHANGE_ORIGIN.set(ChangeOrigin(actor=ORIGIN))
    if settings.database_url is None and not (settings.kaixu_home / "postgres").exists():
        home = settings.kaixu_home.resolve()
        typer.echo(
            f"note: there was no database in {home}: an empty one is made (DATABASE_URL or KAIXU_HOME name another)",
            err=True,
        )

    async def run(dsn: str) -> Answer:
        async with command_pool(dsn, settings, migrated=migrated) as pool:
            return await work(CommandSession(settings, pool, dsn))

    with database_address(settings) as dsn:
        try:
            return asyncio.run(run(dsn))
        except DatabaseAway as error:
            why = f": {error.__cause__}" if error.__cause__ is not None and str(error.__cause__) else ""
            # One that is busy, or too slow, is there: its own hint says what helps.
            hint = CHECK_DATABASE if type(error) is DatabaseAway else error.hint
            raise fail(f"{error.message}{why}", hint=hint) from None
        except KaixuError as error:
            hint = None if error.hint is None else with_option_names(error.hint)
            raise fail(with_option_names(error.message), hint=hint) from None
        except (EnvironmentMistake, MigrationError) as error:
            raise fail(error) from None
        except DatabaseRefused as error:
            raise fail(error, hint=CHECK_DATABASE) from None
        except NO_SCHEMA:
            raise fail("the database does not have this version's schema", hint="Run `kaixu migrate`.") from None
