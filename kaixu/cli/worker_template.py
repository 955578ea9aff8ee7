"""The template of a gateway's workers: imports the gateway once, and forks a worker for each message on its socket.

`python -m kaixu.cli.worker_template --server=NAME --dev|--json… DESCRIPTOR SUPERVISOR`; the supervisor starts it, see
`kaixu.gateway.processes.template`.
"""

from __future__ import annotations

import gc
import os
import socket
import sys
import threading
from collections.abc import Callable

import msgspec

from kaixu.gateway.processes.plan import Fork

MOST_BYTES = 4096

#: What a worker needs of the libraries that are only imported when they are used.
IMPORTED = ("uvloop", "httptools", "prometheus_client.openmetrics.exposition")

#: What it needs of its server. A worker whose kaixu.yaml names another one by then imports that itself.
OF_SERVER = {"hypercorn": "hypercorn.asyncio", "granian": "granian.server.embed"}


def fork_workers(requests: socket.socket) -> Callable[[], None] | None:
    """Fork a worker for each message; what to run in a forked one, and None in this process, at the end."""
    while True:
        message, descriptors, _, _ = socket.recv_fds(requests, MOST_BYTES, 2)
        if not message:
            return None
        order = msgspec.json.decode(message, type=Fork)
        # Forked twice: the worker's parent has ended, so it becomes a child of the supervisor.
        between = os.fork()
        if between:
            os.waitpid(between, 0)
        elif process := os.fork():
            requests.send(b"%d" % process)
            os._exit(0)
        else:
            requests.close()
            return lambda: begin_worker(order.slot, *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def begin_worker(slot: int, listening: int, channel: int) -> None:
    """Run a forked worker."""
    from kaixu.cli import run_command
    from kaixu.cli.worker_process import run_worker

    for descriptor in (listening, channel):
        os.set_inheritable(descriptor, False)
    os.setpgid(0, 0)
    options = sys.argv[1:-2]
    dev, as_json = "--dev" in options, "--json" in options
    run_command(lambda: run_worker(slot, listening, channel, int(sys.argv[-1]), dev=dev, as_json=as_json))


def main() -> None:
    """Import the gateway, say so, and fork."""
    from importlib import import_module

    from .library_commands import leave_out_httpx_command

    leave_out_httpx_command()
    # A supervisor of an older release names none.
    server = next((word.partition("=")[2] for word in sys.argv[1:-2] if word.startswith("--server=")), "")
    for name in (*IMPORTED, *filter(None, [OF_SERVER.get(server)]), "kaixu.cli.worker_process"):
        import_module(name)
    if threading.active_count() > 1:
        sys.exit("a library has started a thread while it was imported, so no process can be forked")
    gc.collect()
    gc.freeze()  # a collection in a worker must not copy every page
    requests = socket.socket(fileno=int(sys.argv[-2]))
    try:
        requests.send(b"%d" % os.getpid())
    except OSError:  # the supervisor has ended meanwhile
        return
    work = fork_workers(requests)
    if work is not None:
        work()


if __name__ == "__main__":
    main()
