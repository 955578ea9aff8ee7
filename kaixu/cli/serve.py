"""`kaixu serve`."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import shutil
import signal
import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from kaixu import __version__
from kaixu.accounts.dev_key import dev_key
from kaixu.assets import asset
from kaixu.config.database_errors import DatabaseRefused, MigrationError
from kaixu.config.environment import EnvironmentMistake, secrets_of
from kaixu.config.mistakes import ConfigError
from kaixu.config.price import nusd_of_cents
from kaixu.gateway.claim import About, Claim, FolderTaken, database_of
from kaixu.gateway.process import Gateway
from kaixu.gateway.reload import notes_of
from kaixu.gateway.servers import SERVERS
from kaixu.plugin.errors import DatabaseAway, KaixuError, PluginError

from .examples import example
from .failure import fail
from .report import print_json
from .session import AsJson, settings

log = logging.getLogger("kaixu")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=example("serve --dev"))(serve)


def serve(
    dev: Annotated[bool, typer.Option("--dev", help="Make up the secrets that are missing, and keep them.")] = False,
    as_json: AsJson = False,
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
        run(gateway, Claim(given.kaixu_home), *given.host_and_port, dev=dev, as_json=as_json)
    except FolderTaken as error:
        raise fail(error, hint="Give each gateway a KAIXU_HOME of its own.") from None
    except (EnvironmentMistake, ConfigError, PluginError, MigrationError) as error:
        raise fail(error) from None
    except (DatabaseAway, DatabaseRefused) as error:
        raise fail(error, hint="Look at DATABASE_URL.") from None


def run(gateway: Gateway, claim: Claim, host: str, port: int, *, dev: bool, as_json: bool) -> None:
    """Serve on uvloop until SIGTERM or SIGINT."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serving(gateway, claim, host, port, dev=dev, as_json=as_json))


async def serving(gateway: Gateway, claim: Claim, host: str, port: int, *, dev: bool, as_json: bool) -> None:
    """Open, listen, stop in order."""
    loop = asyncio.get_running_loop()
    stop, changed = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, changed.set)
    await gateway.open()
    gateway.folder = claim
    gateway.tasks.spawn(reloads(gateway, changed), "reload")

    # What was made at start lives as long as the process: the collector need not look at it again, and what
    # a call makes is freed by its references.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)

    async def until_stopped() -> None:
        claim.announce(about(gateway, host, port))
        gateway.tasks.spawn(greet(gateway, address_of(host, port), dev=dev, as_json=as_json), "greet")
        await stop.wait()
        gateway.stop_soon()

    try:
        await SERVERS[gateway.started_with.server](gateway, host, port, until_stopped)
    except OSError as error:
        await gateway.close()  # it never served, so nothing else closes it
        raise fail(f"cannot listen on {host}:{port}: {error.strerror}", hint="Set KAIXU_BIND.") from None
    finally:
        claim.hide()


async def reloads(gateway: Gateway, changed: asyncio.Event) -> None:
    """Reload whenever a SIGHUP asks for it, one after the other; a file that is wrong changes nothing."""
    while True:
        await changed.wait()
        changed.clear()
        try:
            await gateway.reload()
        except (ConfigError, PluginError, KaixuError) as error:
            log.error("kaixu.yaml was not reloaded, the old one stays:\n%s", error)
        except Exception:
            # A strange failure must not keep the next change out.
            log.exception("kaixu.yaml was not reloaded, the old one stays")


def about(gateway: Gateway, host: str, port: int) -> About:
    """This process, for commands that ask after it."""
    settings = gateway.settings
    return About(
        pid=os.getpid(),
        version=__version__,
        since=datetime.now(UTC).isoformat(timespec="seconds"),
        url=address_of("127.0.0.1" if host == "0.0.0.0" else "::1" if host == "::" else host, port),  # noqa: S104
        server=gateway.started_with.server,
        config=str(settings.kaixu_config.resolve()),
        database=database_of(settings),
    )


def address_of(host: str, port: int) -> str:
    """An address as clients write it."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def greet(gateway: Gateway, address: str, *, dev: bool, as_json: bool) -> None:
    """Say where it listens, which lanes serve, and how to try it."""
    notes = notes_of(gateway.services.catalog)
    for note in notes:
        log.warning("%s", note)
    if as_json:
        states = {
            name: {"state": one.state, "reason": one.reason} for name, one in gateway.services.catalog.lanes.items()
        }
        print_json({"url": address, "pid": os.getpid(), "lanes": states, "notes": notes})
        return
    out = typer.echo
    out(f"\nkAIxU Gateway listens on {address}")
    for name, state in gateway.services.catalog.lanes.items():
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
    chats = [one for one in gateway.services.catalog.deployments if one.kind == "chat" and one.ready]
    if chats:
        chosen = chats[0]
        out(
            "\nTry it:\n"
            f"curl {address}/api/gateway-chat -H 'authorization: Bearer {key}' -H 'content-type: application/json' "
            f'-d \'{{"provider": "{chosen.provider}", "model": "{chosen.model}", "max_tokens": 64, '
            '"messages": [{"role": "user", "content": "What is the capital of Italy?"}]}\'\n'
        )
