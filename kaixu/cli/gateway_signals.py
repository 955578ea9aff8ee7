"""Signals to the running gateway, and the outcome that it stores."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from time import monotonic, monotonic_ns, sleep
from typing import Protocol, TypeVar

from kaixu.gateway.claim import other_folders, running_in, workers_in

from .failure import fail

LOOK_AGAIN_S = 0.05


class Outcome(Protocol):
    """What a gateway stores when it has done what a signal asks for."""

    @property
    def pid(self) -> int:
        """The gateway's process id."""
        ...

    @property
    def began_ns(self) -> int:
        """When it began, on the machine's monotonic clock."""
        ...


Stored = TypeVar("Stored", bound=Outcome)


def signal_gateway(
    home: Path, number: signal.Signals, read: Callable[[], Stored | None], wait_s: float, *, done: str
) -> Stored:
    """Signal the gateway of a data folder, and wait for the outcome. `done`: what it does, in one word."""
    process = running_process(home)
    signalled_ns, end = monotonic_ns(), monotonic() + wait_s
    try:
        os.kill(process, number)
    except PermissionError:
        raise fail(f"process {process} belongs to another user", hint="Run this as the gateway's user.") from None
    except ProcessLookupError:
        raise fail(f"process {process} cannot be seen from here", hint="Does it run in a container?") from None
    while monotonic() < end:
        outcome = read()
        # What began before the signal may have read the old file.
        if outcome is not None and outcome.pid == process and outcome.began_ns >= signalled_ns:
            return outcome
        if running_in(home) != process:
            raise fail(f"the gateway (process {process}) ended before it had {done}")
        sleep(LOOK_AGAIN_S)
    raise fail(f"process {process} has not {done} within {wait_s:g} s", hint="See its log for the outcome.")


def running_process(home: Path) -> int:
    """The process id of the gateway of a data folder. Raises `CommandFailed`."""
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
    return process
