"""`kaixu serve` with several processes: how many, and becoming their supervisor."""

from __future__ import annotations

import errno
import os
import socket
import sys
from time import monotonic, sleep
from typing import NamedTuple, NoReturn

import msgspec

from kaixu.config.environment import Settings, secrets_of
from kaixu.config.load import load
from kaixu.config.mistakes import ConfigError
from kaixu.config.processes import MOST_PROCESSES, processes_or_auto
from kaixu.gateway.claim import About, Claim
from kaixu.gateway.processes.count import available_cores
from kaixu.gateway.processes.plan import Plan
from kaixu.gateway.processes.ports import bind

from .failure import fail

#: How long a port may stay in use: by workers whose supervisor was killed, which close it.
FREE_S = 3.0


class Wanted(NamedTuple):
    """How many processes to run. See `Plan`."""

    processes: int
    is_auto: bool = False
    is_fixed: bool = False
    server: str = ""  # the HTTP server


def wanted_processes(settings: Settings, option: str | None) -> Wanted:
    """The number of processes: from the command line, or from kaixu.yaml. Raises `CommandFailed`."""
    given: int | str = 1
    if option is not None:
        given = checked(option)
    try:
        section = load(settings.kaixu_config, os.environ).gateway
    except (ConfigError, OSError):
        return Wanted(1)  # the gateway reports the mistakes
    if option is None:
        given = section.processes
    count = available_cores() if given == "auto" else int(given)
    return Wanted(min(MOST_PROCESSES, count), given == "auto", option is not None, section.server)


def checked(option: str) -> int | str:
    """The value of `--processes`. Raises `CommandFailed`."""
    try:
        return processes_or_auto(option)
    except ValueError:
        raise fail(
            f"--processes: {option!r:.40} is neither `auto` nor a number from 1 to {MOST_PROCESSES}",
            hint="`auto` starts one process for each core.",
        ) from None


def become_supervisor(settings: Settings, wanted: Wanted, about: About, *, dev: bool, as_json: bool) -> NoReturn:
    """Lock the data folder, bind the port, and run the supervisor in this process.

    Raises as a start does: for missing secrets, a data folder that is taken, a port in use.
    """
    if not dev:
        secrets_of(settings, dev=False)
    claim = Claim(settings.kaixu_home)
    host, port = settings.host_and_port
    sockets = bound_sockets(host, port, wanted.processes)
    descriptors = [claim.file.fileno(), *(one.fileno() for one in sockets)]
    for descriptor in descriptors:
        os.set_inheritable(descriptor, True)
    options = [*(["--dev"] if dev else []), *(["--json"] if as_json else [])]
    python = python_command()
    plan = Plan(
        home=str(settings.kaixu_home),
        lock=descriptors[0],
        host=host,
        port=sockets[0].getsockname()[1],
        sockets=descriptors[1:],
        processes=wanted.processes,
        is_auto=wanted.is_auto,
        is_fixed=wanted.is_fixed,
        about=about,
        template=[*python, "kaixu.cli.worker_template", f"--server={wanted.server}", *options],
        log_format=settings.kaixu_log,
        log_level=settings.kaixu_log_level,
    )
    # `serve` on the command line is what `kaixu doctor` looks for.
    words = [*python, "kaixu.gateway.processes.supervisor", "serve", msgspec.json.encode(plan).decode()]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(words[0], words)  # noqa: S606 - ourselves


def python_command() -> list[str]:
    """Runs a module in a new process as this one runs: the working folder is searched for modules if it was here."""
    main = sys.modules.get("__main__")
    searches_folder = main is not None and getattr(main, "__spec__", None) is not None
    return [sys.executable, *([] if searches_folder else ["-P"]), "-m"]


def bound_sockets(host: str, port: int, count: int) -> list[socket.socket]:
    """A socket for each process, on one port. Raises `CommandFailed` if it stays in use."""
    end = monotonic() + FREE_S
    while True:
        try:
            return bind(host, port, count)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or monotonic() >= end:
                raise fail(
                    f"cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}",
                    hint="Set KAIXU_BIND to another host:port.",
                ) from None
        sleep(0.1)
