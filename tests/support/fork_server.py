"""The process from which gateways and commands of tests are forked. It has imported the gateway.

Run by `tests.support.kaixu`. Each message on its socket is a command's environment, folder and words, with three file
descriptors: standard output, standard error, and a pipe that the process's number and its exit code are written to.
"""

from __future__ import annotations

import gc
import importlib
import os
import pkgutil
import runpy
import select
import signal
import socket
import sys
import threading

import msgspec

LARGEST = 1024 * 1024
#: Modules that `kaixu serve` and most commands import only when they run.
IMPORTED = ("uvloop", "aiohttp", "httptools", "hypercorn.asyncio", "rich.table", "typer.rich_utils", "psutil")


class Start(msgspec.Struct):
    """One process to start."""

    words: list[str]
    environment: dict[str, str]
    folder: str


def serve(requests: socket.socket) -> Start | None:
    """Fork a process for each message; return what to run in a forked one, and None in this one, at the end."""
    reports: dict[int, int] = {}  # by the number of a running process: where its exit code goes
    woken, wakes = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt ends the tests, which end this process
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakes)
    sources: list[socket.socket | int] = [requests, woken]
    while True:
        ready, _, _ = select.select(sources, [], [])
        if woken in ready:
            os.read(woken, 4096)
            for number, report in list(reports.items()):
                ended, status = os.waitpid(number, os.WNOHANG)
                if ended:
                    os.write(report, b"%d\n" % os.waitstatus_to_exitcode(status))
                    os.close(reports.pop(number))
        if requests not in ready:
            continue
        message, descriptors, _, _ = socket.recv_fds(requests, LARGEST, 3)
        if not message:
            return None
        out, err, report = descriptors
        number = os.fork()
        if number == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            os.dup2(out, 1)
            os.dup2(err, 2)
            for descriptor in (*descriptors, *reports.values(), woken, wakes):
                os.close(descriptor)
            requests.close()
            return msgspec.json.decode(message, type=Start)
        os.write(report, b"%d\n" % number)
        reports[number] = report
        os.close(out)
        os.close(err)


def main() -> None:
    """Import the gateway and serve; in a forked process, run the command."""
    import kaixu.cli
    from kaixu.web.rendering import environment
    from kaixu.web.static_files import static_files
    from tests.support.passwords import hash_with_little_work

    hash_with_little_work()

    # Once, not in each gateway: templates are compiled, and static files compressed.
    pages = environment()
    for template in pages.list_templates():
        pages.get_template(template)
    static_files()
    for module in (*IMPORTED, *(f"kaixu.cli.{found.name}" for found in pkgutil.iter_modules(kaixu.cli.__path__))):
        importlib.import_module(module)
    assert threading.active_count() == 1, "only a process of one thread can be forked safely"
    gc.collect()
    gc.freeze()  # a collection in a forked process must not copy every page
    start = serve(socket.socket(fileno=int(sys.argv[1])))
    if start is None:
        return
    os.environ.clear()
    os.environ.update(start.environment)
    os.chdir(start.folder)
    added = [folder for folder in start.environment.get("PYTHONPATH", "").split(os.pathsep) if folder]
    sys.path[:1] = [start.folder, *added]  # as `python -m` has it
    sys.argv = ["kaixu", *start.words]
    runpy.run_module("kaixu", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
