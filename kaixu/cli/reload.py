"""`kaixu reload`: reload kaixu.yaml in the running gateway."""

from __future__ import annotations

import os
import signal
from time import monotonic, monotonic_ns, sleep

import typer

from kaixu.gateway.claim import ReloadOutcome, other_folders, read_reload, running_in, workers_in

from .examples import example
from .failure import fail
from .report import print_json, print_record
from .session import AsJson, load_settings

LOOK_AGAIN_S = 0.05


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
    process = running_in(home)
    if process is None:
        others = ", ".join(map(str, other_folders(home)))
        hint = f"Set KAIXU_HOME; gateways run with {others}." if others else "KAIXU_HOME sets the data folder."
        raise fail(f"no gateway runs with data folder {home}", hint=hint)
    if not process and (workers := workers_in(home)):
        raise fail(
            f"job workers run with data folder {home} (process {workers}), and they do not reload",
            hint="Stop `kaixu work` and start it again to apply kaixu.yaml.",
        )
    if not process:
        raise fail(f"the gateway with data folder {home} is starting or stopping", hint="Try again in a moment.")
    signalled_ns, end = monotonic_ns(), monotonic() + wait_s
    try:
        os.kill(process, signal.SIGHUP)
    except PermissionError:
        raise fail(f"process {process} belongs to another user", hint="Run this as the gateway's user.") from None
    except ProcessLookupError:
        raise fail(f"process {process} cannot be seen from here", hint="Does it run in a container?") from None
    while monotonic() < end:
        outcome = read_reload(home)
        # A reload that began before the signal may have read the old file.
        if outcome is not None and outcome.pid == process and outcome.began_ns >= signalled_ns:
            return outcome
        if running_in(home) != process:
            raise fail(f"the gateway (process {process}) ended before it had reloaded")
        sleep(LOOK_AGAIN_S)
    raise fail(f"process {process} has not reloaded within {wait_s:g} s", hint="See its log for the outcome.")
