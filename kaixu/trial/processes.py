"""The process that gateways of trials are forked from: it has imported the gateway, most of what a start costs.

Run by `kaixu.plugin.testing.gateway` as `python -m kaixu.trial.processes`. Each line on the standard input starts one
`kaixu …`. The answers are lines, too: `{"pid": …}` for each start, in order, and `{"ended": pid, "code": …}`, whenever
a process has ended. At the end of the input all of them are killed.
"""

from __future__ import annotations

import gc
import importlib
import os
import pkgutil
import runpy
import select
import signal
import sys
from pathlib import Path

import msgspec

from kaixu.ops.clock import CLOCK

#: Modules that commands import only when they run. A forked process may not have threads of its parent.
IMPORTED = ("uvloop", "aiohttp", "httptools", "hypercorn.asyncio", "rich.table", "typer.rich_utils", "psutil")


class Start(msgspec.Struct):
    """One process: its words, environment and folder, where its outputs go, and the file of its clock."""

    words: list[str]
    environment: dict[str, str]
    folder: str
    out: str
    err: str
    clock: str


class Report(msgspec.Struct, omit_defaults=True):
    """What has happened to a process."""

    pid: int | None = None
    ended: int | None = None
    code: int | None = None


def report(what: Report) -> None:
    """Write one line."""
    os.write(1, msgspec.json.encode(what) + b"\n")


def serve() -> Start | None:
    """Fork a process for each line; return what to run in a forked one, and None in this one, at the end."""
    running: set[int] = set()
    woken, wakes = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt ends the tests, which end this process
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakes)
    buffer = b""
    while True:
        ready, _, _ = select.select([0, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            for number in list(running):
                ended, status = os.waitpid(number, os.WNOHANG)
                if ended:
                    running.discard(number)
                    report(Report(ended=number, code=os.waitstatus_to_exitcode(status)))
        if 0 not in ready:
            continue
        piece = os.read(0, 1 << 16)
        if not piece:
            for number in running:
                os.kill(number, signal.SIGKILL)
                os.waitpid(number, 0)
            return None
        *lines, buffer = (buffer + piece).split(b"\n")
        for line in lines:
            start = msgspec.json.decode(line, type=Start)
            number = os.fork()
            if number == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                signal.signal(signal.SIGINT, signal.default_int_handler)
                os.close(woken)
                os.close(wakes)
                return start
            running.add(number)
            report(Report(pid=number))


def become(start: Start) -> None:
    """Be this process: its files, environment, folder and clock."""
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    for number, path in ((1, start.out), (2, start.err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), number)
    os.environ.clear()
    os.environ.update(start.environment)
    os.chdir(start.folder)
    added = [folder for folder in start.environment.get("PYTHONPATH", "").split(os.pathsep) if folder]
    sys.path[:0] = [folder for folder in added if folder not in sys.path]
    importlib.invalidate_caches()
    CLOCK.follow(Path(start.clock))
    sys.argv = ["kaixu", *start.words]


def main() -> None:
    """Import the gateway and serve; in a forked process, run the command."""
    import kaixu.cli
    from kaixu.web.rendering import environment
    from kaixu.web.static_files import static_files

    # Once, not in each gateway: templates are compiled, and static files compressed.
    pages = environment()
    for template in pages.list_templates():
        pages.get_template(template)
    static_files()
    for module in (*IMPORTED, *(f"kaixu.cli.{found.name}" for found in pkgutil.iter_modules(kaixu.cli.__path__))):
        importlib.import_module(module)
    gc.collect()
    gc.freeze()  # a collection in a forked process must not copy every page
    start = serve()
    if start is not None:
        become(start)
        runpy.run_module("kaixu", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
