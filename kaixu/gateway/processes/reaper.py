"""Collects the exit codes of all child processes: of workers, and of whatever ended without its parent."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from time import monotonic

#: From Linux' `prctl.h`: orphans below this process become its children.
PR_SET_CHILD_SUBREAPER = 36

#: How long a process that has closed its channel may take to end.
END_S = 20.0

LOOK_S = 0.02

#: How many exit codes are kept.
MOST_CODES = 1000


class Reaper:
    """The exit codes of processes that have ended."""

    def __init__(self) -> None:
        self.codes: dict[int, int] = {}
        if sys.platform.startswith("linux"):
            ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self.collect)

    def collect(self) -> None:
        """Collect every child that has ended."""
        with contextlib.suppress(ChildProcessError):
            while True:
                process, status = os.waitpid(-1, os.WNOHANG)
                if not process:
                    return
                self.codes[process] = os.waitstatus_to_exitcode(status)
                if len(self.codes) > MOST_CODES:  # of orphans, which nobody asks for
                    del self.codes[next(iter(self.codes))]

    async def end_of(self, process: int) -> int | None:
        """The exit code of a process that ends now, killed if it does not; None where the system does not tell."""
        killed_at = monotonic() + END_S
        while process not in self.codes:
            self.collect()
            if process not in self.codes and not is_running(process):
                break
            if monotonic() >= killed_at:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
                killed_at += END_S
            await asyncio.sleep(LOOK_S)
        return self.codes.pop(process, None)


def is_running(process: int) -> bool:
    """Whether a process exists."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def words_of(code: int | None) -> str:
    """How a process ended, in words."""
    if code is None:
        return "ended"
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
