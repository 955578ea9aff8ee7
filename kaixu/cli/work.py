"""`kaixu work`: run job workers without a server."""

from __future__ import annotations

import asyncio
import os
import signal

import typer

from kaixu.config.environment import secrets_of
from kaixu.gateway.claim import Claim
from kaixu.gateway.process import Gateway

from .examples import example
from .failure import fail
from .process import log_to_stderr, start_errors
from .report import print_json
from .session import AsJson, load_settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=example("work"))(work)


def work(as_json: AsJson = False) -> None:
    """Run job workers only (any number of machines)."""
    settings = load_settings()
    log_to_stderr(settings)
    if settings.database_url is None:
        raise fail("`kaixu work` needs DATABASE_URL", hint="A gateway with the embedded Postgres runs its jobs itself.")
    with start_errors():
        gateway, claim = Gateway(settings, secrets_of(settings, dev=False)), Claim(settings.kaixu_home)
        asyncio.run(run_workers(gateway, claim, as_json=as_json))


async def run_workers(gateway: Gateway, claim: Claim, *, as_json: bool) -> None:
    """Open the gateway, run jobs, and stop in order."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await gateway.open()
    gateway.folder = claim
    claim.announce_workers()
    workers = gateway.services.gateway.jobs.workers
    if as_json:
        print_json({"pid": os.getpid(), "workers": workers})
    else:
        typer.echo(f"running up to {workers} jobs at once")
    if not workers:
        typer.echo("gateway.jobs.workers is 0 in kaixu.yaml, so this process runs no jobs", err=True)
    await stop.wait()
    gateway.stop_soon()
    await gateway.close()
