"""`kaixu restart`: replace the worker processes of the running gateway, one after the other."""

from __future__ import annotations

import signal

import typer

from kaixu.gateway.claim import RestartOutcome, read_about, read_restart

from .examples import example
from .failure import fail
from .gateway_signals import running_process, signal_gateway
from .report import print_json, print_record
from .session import AsJson, load_settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=example("restart"))(restart)


def restart(
    wait: float = typer.Option(600.0, min=0, max=7200, help="How many seconds to wait for the result."),
    as_json: AsJson = False,
) -> None:
    """Replace the worker processes one by one, while the gateway serves.

    The new ones have the code and kaixu.yaml that are on the disk. The port stays open, and running calls have
    `gateway.grace_s` to end. Exit 1 if a new worker does not start: the others then stay. Only with several
    processes.
    """
    outcome = request_restart(wait)
    if outcome.refused is not None:
        if as_json:
            print_json(outcome)
        raise fail(outcome.refused, hint="The workers that were not replaced go on.")
    if as_json:
        print_json(outcome)
        return
    print_record({f"worker {one.slot}": f"process {one.pid}, {one.state}" for one in outcome.workers}, as_json=False)


def request_restart(wait_s: float) -> RestartOutcome:
    """Signal the gateway of this data folder, and wait for the outcome."""
    home = load_settings().kaixu_home
    process, about = running_process(home), read_about(home)
    if about is None or about.pid != process or not about.workers:
        raise fail(
            f"the gateway (process {process}) is a single process, which cannot be replaced while it serves",
            hint="Run it with `gateway.processes` of 2 or more, or stop it and start it again.",
        )
    return signal_gateway(home, signal.SIGUSR2, lambda: read_restart(home), wait_s, done="restarted")
