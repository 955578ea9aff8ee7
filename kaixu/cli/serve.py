"""`kaixu serve` and `kaixu reload`."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import shutil
import signal
import sys
from typing import Annotated

import typer

from kaixu.accounts.dev_key import dev_key
from kaixu.assets import asset
from kaixu.catalog.build import build
from kaixu.config.document import load
from kaixu.config.environment import EnvironmentMistake, secrets_of
from kaixu.config.mistakes import ConfigError
from kaixu.config.price import nusd_of_cents
from kaixu.plugin.errors import DatabaseAway, KaixuError, PluginError
from kaixu.store.migrate import MigrationError
from kaixu.store.pool import DatabaseRefused

from .failure import fail
from .gateway import Gateway
from .report import print_json
from .servers import SERVERS
from .session import settings

log = logging.getLogger("kaixu")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(serve)
    app.command()(reload)


def serve(
    dev: Annotated[bool, typer.Option("--dev", help="Make up the secrets that are missing, and keep them.")] = False,
) -> None:
    """Run the gateway."""
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    # A database that is away is told by the gateway itself, in one line; not with a stack for every try.
    logging.getLogger("asyncpg.pool").setLevel(logging.CRITICAL)
    given = settings()
    try:
        if dev and not given.kaixu_config.exists():
            shutil.copyfile(asset("kaixu.yaml"), given.kaixu_config)
        gateway = Gateway(given, secrets_of(given, dev=dev))
        run(gateway, *given.host_and_port, dev=dev)
    except (EnvironmentMistake, ConfigError, PluginError, MigrationError) as error:
        raise fail(error) from None
    except (DatabaseAway, DatabaseRefused) as error:
        raise fail(error, hint="Look at DATABASE_URL.") from None


def run(gateway: Gateway, host: str, port: int, *, dev: bool) -> None:
    """Serve on uvloop until SIGTERM or SIGINT."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serving(gateway, host, port, dev=dev))


async def serving(gateway: Gateway, host: str, port: int, *, dev: bool) -> None:
    """Open, listen, stop in order."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await gateway.open()
    loop.add_signal_handler(signal.SIGHUP, lambda: gateway.tasks.spawn(reloaded(gateway), "reload"))
    pid_file = gateway.settings.kaixu_home / "serve.pid"
    pid_file.parent.mkdir(parents=True, exist_ok=True)
    pid_file.write_text(str(os.getpid()))

    # What was made at start lives as long as the process: the collector need not look at it again, and what
    # a call makes is freed by its references.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)

    async def until_stopped() -> None:
        loop.create_task(greet(gateway, host, port, dev=dev))  # noqa: RUF006 - awaited by nobody, ends by itself
        await stop.wait()
        gateway.core.gate.stopping = True

    serve = SERVERS[gateway.core.gateway.server]
    try:
        await serve(gateway, host, port, until_stopped)
    except OSError as error:
        await gateway.close()  # it never served, so nothing else closes it
        raise fail(f"cannot listen on {host}:{port}: {error.strerror}", hint="Set KAIXU_BIND.") from None
    finally:
        pid_file.unlink(missing_ok=True)


async def reloaded(gateway: Gateway) -> None:
    """Reload, or say why not; a broken file changes nothing."""
    try:
        await gateway.reload()
    except (ConfigError, PluginError, KaixuError) as error:
        log.error("kaixu.yaml was not reloaded, the old one stays:\n%s", error)


async def greet(gateway: Gateway, host: str, port: int, *, dev: bool) -> None:
    """Say where it listens, which lanes serve, and how to try it."""
    address = f"http://{host}:{port}"
    out = typer.echo
    out(f"\nkAIxU Gateway listens on {address}")
    for name, state in gateway.core.catalog.lanes.items():
        out(f"  lane {name}: {state.state}" + (f": {state.reason}" if state.reason else ""))
    if not dev:
        return
    secrets = gateway.secrets
    if "admin_password" in secrets.made:
        out(f"\nadmin password (made up, kept in {gateway.settings.kaixu_home}/secrets.json): {secrets.admin_password}")
    key = await dev_key(
        gateway.pool,
        pepper=secrets.key_pepper,
        home=gateway.settings.kaixu_home,
        cap_nusd=nusd_of_cents(gateway.settings.default_customer_cap_cents),
    )
    chats = [one for one in gateway.core.catalog.deployments if one.kind == "chat" and one.state.state == "on"]
    if chats:
        chosen = chats[0]
        out(
            "\nTry it:\n"
            f"curl {address}/api/gateway-chat -H 'authorization: Bearer {key}' -H 'content-type: application/json' "
            f'-d \'{{"provider": "{chosen.provider}", "model": "{chosen.model}", "max_tokens": 64, '
            '"messages": [{"role": "user", "content": "What is the capital of Italy?"}]}\'\n'
        )


def reload() -> None:
    """Have the running gateway read kaixu.yaml again."""
    given = settings()
    try:
        build(load(given.kaixu_config, os.environ), given.kaixu_config.resolve().parent, strict=True)
        process = int((given.kaixu_home / "serve.pid").read_text())
        os.kill(process, signal.SIGHUP)
    except (ConfigError, PluginError) as error:
        raise fail(error) from None
    except (FileNotFoundError, ProcessLookupError, ValueError):
        raise fail(f"no gateway runs with data folder {given.kaixu_home}") from None
    print_json({"reloading": process})
