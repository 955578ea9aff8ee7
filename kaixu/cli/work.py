"""`kaixu work`: job workers without a server."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys

import typer

from kaixu.config.database_errors import DatabaseRefused, MigrationError
from kaixu.config.environment import EnvironmentMistake, secrets_of
from kaixu.config.mistakes import ConfigError
from kaixu.gateway.claim import Claim, FolderTaken
from kaixu.gateway.process import Gateway
from kaixu.plugin.errors import DatabaseAway, PluginError

from .examples import example
from .failure import fail
from .report import print_json
from .session import AsJson, load_settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=example("work"))(work)


def work(as_json: AsJson = False) -> None:
    """Run job workers only (any number of machines)."""
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("asyncpg.pool").setLevel(logging.CRITICAL)
    settings = load_settings()
    if settings.database_url is None:
        raise fail("`kaixu work` needs DATABASE_URL", hint="A gateway with the embedded Postgres runs its jobs itself.")
    try:
        gateway, claim = Gateway(settings, secrets_of(settings, dev=False)), Claim(settings.kaixu_home)
        asyncio.run(run_workers(gateway, claim, as_json=as_json))
    except FolderTaken as error:
        raise fail(error, hint="Give each process a KAIXU_HOME of its own.") from None
    except (EnvironmentMistake, ConfigError, PluginError, MigrationError) as error:
        raise fail(error) from None
    except (DatabaseAway, DatabaseRefused) as error:
        raise fail(error, hint="Check DATABASE_URL.") from None


async def run_workers(gateway: Gateway, claim: Claim, *, as_json: bool) -> None:
    """Open, run jobs, stop in order."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await gateway.open()
    gateway.folder = claim
    workers = gateway.services.gateway.jobs.workers
    if as_json:
        print_json({"pid": os.getpid(), "workers": workers})
    else:
        typer.echo(f"running jobs: {workers} at one time")
    if not workers:
        typer.echo("gateway.jobs.workers is 0 in kaixu.yaml, so this process runs no jobs", err=True)
    await stop.wait()
    gateway.stop_soon()
    await gateway.close()
