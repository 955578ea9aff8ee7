"""`kaixu reload`: reload kaixu.yaml in the running gateway."""

from __future__ import annotations

import signal

import typer

from kaixu.gateway.claim import ReloadOutcome, read_reload

from .examples import example
from .failure import fail
from .gateway_signals import signal_gateway
from .report import print_json, print_record
from .session import AsJson, load_settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=example("reload --wait 10"))(reload)


def reload(
    wait: float = typer.Option(60.0, min=0, max=3600, help="How many seconds to wait for the result."),
    as_json: AsJson = False,
) -> None:
    """Reload kaixu.yaml in the running gateway.

    Exit 1 if the gateway refuses the file; the old one then stays in force. It also refuses a file with which a running
    lane would fail.
    """
    outcome = request_reload(wait)
    if outcome.refused is not None:
        if as_json:
            print_json(outcome)
        raise fail(outcome.refused, hint="kaixu.yaml was not reloaded, the old one stays in force.")
    if as_json:
        print_json(outcome)
        return
    waiting = ", ".join(f"gateway.{name}" for name in outcome.restart)
    record = {
        "reloaded by process": outcome.pid,
        **{f"lane {name}": state for name, state in outcome.lanes.items()},
        **{f"integration {name}": state for name, state in outcome.integrations.items()},
    }
    print_record(record | ({"waits for a restart": waiting} if waiting else {}), as_json=False)
    for note in outcome.notes:
        typer.echo(f"note: {note}", err=True)


def request_reload(wait_s: float) -> ReloadOutcome:
    """Signal the gateway of this data folder, and wait for the outcome."""
    home = load_settings().kaixu_home
    return signal_gateway(home, signal.SIGHUP, lambda: read_reload(home), wait_s, done="reloaded")
