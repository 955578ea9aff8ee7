"""`kaixu serve`: run the gateway."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import shutil
import signal
from datetime import UTC, datetime
from typing import Annotated

import typer

from kaixu import __version__
from kaixu.accounts.dev_key import dev_key
from kaixu.assets import asset
from kaixu.config.environment import Settings, secrets_of
from kaixu.config.mistakes import ConfigError
from kaixu.config.price import nusd_of_cents
from kaixu.gateway.claim import About, Claim, Presence, database_name
from kaixu.gateway.link_notes import link_notes
from kaixu.gateway.process import Gateway
from kaixu.gateway.processes.worker import Worker
from kaixu.gateway.reload import config_notes, states_of
from kaixu.gateway.servers import SERVERS
from kaixu.gateway.stopping import StopSignals
from kaixu.plugin.errors import KaixuError, PluginError

from .examples import example
from .failure import fail
from .process import log_to_stderr, start_errors
from .processes import become_supervisor, wanted_processes
from .report import print_json
from .session import AsJson, load_settings

log = logging.getLogger("kaixu")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=example("serve --dev"))(serve)


def serve(
    dev: Annotated[bool, typer.Option("--dev", help="Generate and store missing secrets.")] = False,
    processes: Annotated[
        str | None,
        typer.Option(help="Worker processes behind the port: a number, or auto; default: gateway.processes."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run the gateway."""
    settings = load_settings()
    if dev and not settings.kaixu_config.exists():
        with start_errors():
            shutil.copyfile(asset("kaixu.yaml"), settings.kaixu_config)
    wanted = wanted_processes(settings, processes)
    if wanted.processes > 1:
        with start_errors():
            become_supervisor(settings, wanted, describe_process(settings, wanted.server), dev=dev, as_json=as_json)
    writer = log_to_stderr(settings)
    with start_errors():
        gateway = Gateway(settings, secrets_of(settings, dev=dev), log_writer=writer)
        run(gateway, Claim(settings.kaixu_home), *settings.host_and_port, dev=dev, as_json=as_json)


def run(gateway: Gateway, claim: Claim, host: str, port: int, *, dev: bool, as_json: bool) -> None:
    """Serve on uvloop until SIGTERM or SIGINT."""
    with event_loop() as runner:
        runner.run(serve_until_stopped(gateway, claim, host, port, dev=dev, as_json=as_json))


def event_loop() -> asyncio.Runner:
    """Runs uvloop."""
    import uvloop

    return asyncio.Runner(loop_factory=uvloop.new_event_loop)


async def serve_until_stopped(
    gateway: Gateway,
    claim: Presence,
    host: str,
    port: int,
    *,
    dev: bool,
    as_json: bool,
    worker: Worker | None = None,
) -> None:
    """Open the gateway, listen, and stop in order. `worker`: of a gateway with several processes."""
    loop = asyncio.get_running_loop()
    signals, changed = StopSignals(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, signals.terminate)
    loop.add_signal_handler(signal.SIGINT, signals.interrupt)
    loop.add_signal_handler(signal.SIGHUP, changed.set)
    if worker is not None:
        worker.begin(gateway, stop=signals.leave, reload=changed.set)
    await gateway.open()
    gateway.folder = claim
    if worker is not None:
        await worker.opened(gateway)
    gateway.tasks.spawn(reload_on_signal(gateway, changed), "reload")

    # Objects made at start live as long as the process, so the garbage collector can skip them; those of calls are
    # freed by reference counting.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)

    async def until_stopped() -> None:
        about = describe_process(gateway.settings, gateway.started_with.server)
        claim.announce(about)
        gateway.start_heartbeat(about.url)

        def begin_greeting() -> None:
            pid = os.getpid() if worker is None else worker.supervisor
            greeting = greet(gateway, base_url(host, port), pid, dev=dev, as_json=as_json)
            gateway.tasks.spawn(greeting, "greet")

        if worker is None:
            begin_greeting()
        else:
            worker.link.greet = begin_greeting
        await signals.begun.wait()
        gateway.drain()
        await signals.drain(gateway.services.gateway.drain_s)
        gateway.stop_soon()
        gateway.tasks.spawn(leave_on_signal(gateway, signals), "stop")

    try:
        await SERVERS[gateway.started_with.server](
            gateway, host, port, until_stopped, None if worker is None else worker.listening
        )
    except OSError as error:
        await gateway.close()  # it never served, so nothing else closes it
        raise fail(
            f"cannot listen on {host}:{port}: {error.strerror}", hint="Set KAIXU_BIND to another host:port."
        ) from None
    finally:
        claim.hide()


async def leave_on_signal(gateway: Gateway, signals: StopSignals) -> None:
    """End the grace period of running calls if a further signal asks for it."""
    await signals.now.wait()
    gateway.stop_now()


async def reload_on_signal(gateway: Gateway, changed: asyncio.Event) -> None:
    """Reload at every SIGHUP, one at a time; an invalid file changes nothing."""
    while True:
        await changed.wait()
        changed.clear()
        try:
            await gateway.reload()
        except (ConfigError, PluginError, KaixuError) as error:
            log.error("kaixu.yaml was not reloaded, the old one stays in force:\n%s", error)
        except Exception:
            # An unexpected failure must not prevent the next reload.
            log.exception("kaixu.yaml was not reloaded, the old one stays in force")


def describe_process(settings: Settings, server: str) -> About:
    """The description of this process, for commands."""
    host, port = settings.host_and_port
    return About(
        pid=os.getpid(),
        version=__version__,
        since=datetime.now(UTC).isoformat(timespec="seconds"),
        url=base_url("127.0.0.1" if host == "0.0.0.0" else "::1" if host == "::" else host, port),  # noqa: S104
        server=server,
        config=str(settings.kaixu_config.resolve()),
        database=database_name(settings),
    )


def base_url(host: str, port: int) -> str:
    """The base URL of a host and port."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def greet(gateway: Gateway, address: str, pid: int, *, dev: bool, as_json: bool) -> None:
    """Print the address, the lanes, and, with `--dev`, an example call."""
    rules = gateway.services.selfservice
    notes = [
        *config_notes(gateway.services.catalog),
        *link_notes(rules.section, has_mail=rules.mail is not None, gateway_url=rules.settings.gateway_url),
    ]
    for note in notes:
        log.warning("%s", note)
    if as_json:
        states = {
            name: {"state": lane.state, "reason": lane.reason} for name, lane in gateway.services.catalog.lanes.items()
        }
        print_json({"url": address, "pid": pid, "lanes": states, "notes": notes})
        return
    typer.echo(f"\nkAIxU Gateway listens on {address}")
    for name, state in states_of(gateway.services.catalog.lanes).items():
        typer.echo(f"  lane {name}: {state}")
    for name, state in states_of(gateway.services.catalog.integrations).items():
        typer.echo(f"  integration {name}: {state}")
    if not dev:
        return
    secrets = gateway.secrets
    if "admin_password" in secrets.made:
        file = gateway.settings.kaixu_home / "secrets.json"
        typer.echo(f"\nadmin password (generated, stored in {file}): {secrets.admin_password}")
    typer.echo(f"\nadmin page: {address}/gateway")
    key = await dev_key(
        gateway.pool,
        peppers=secrets.key_peppers,
        home=gateway.settings.kaixu_home,
        cap_nusd=nusd_of_cents(gateway.settings.default_customer_cap_cents),
    )
    chats = [
        deployment
        for deployment in gateway.services.catalog.deployments
        if deployment.kind == "chat" and deployment.ready
    ]
    if chats:
        chosen = chats[0]
        typer.echo(
            "\nTry it:\n"
            f"curl {address}/api/gateway-chat -H 'authorization: Bearer {key}' -H 'content-type: application/json' "
            f'-d \'{{"provider": "{chosen.provider}", "model": "{chosen.model}", "max_tokens": 64, '
            '"messages": [{"role": "user", "content": "What is the capital of Italy?"}]}\'\n'
        )
