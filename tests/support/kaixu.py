"""Processes of `kaixu …`, started in a fraction of the time: forked from a process that has imported the gateway.

The imports are most of what a start costs, and the suite starts hundreds. A forked process is like any
other: it has its own pid, environment, folder, output and signals, and runs `python -m kaixu …` from the beginning.
A test of the start itself is marked `own_process`: its processes are executed, not forked. So are all processes with
KAIXU_TEST_EXEC=1 (`make slow`), and those with environment variables that Python reads before its first line.
"""

from __future__ import annotations

import atexit
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import msgspec

from .fork_server import Start

#: Variables that Python reads before the first line runs: too early for a forked process.
LOCALE = ("LANG", "LC_ALL", "LC_CTYPE", "TZ")


class ForkedProcess:
    """A forked process, with the methods of `subprocess.Popen`."""

    def __init__(self, report: int) -> None:
        self.report = os.fdopen(report, "rb", buffering=0)
        self.lock = threading.Lock()
        self.returncode: int | None = None
        self.pid = int(self.line())

    def line(self) -> bytes:
        """The next number of the report."""
        line = b""
        while not line.endswith(b"\n"):
            byte = self.report.read(1)
            assert byte, "the server that processes are forked from has died"
            line += byte
        return line

    def poll(self) -> int | None:
        """The exit code; None while it runs."""
        return self.exit_code(0)

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, once it ends."""
        code = self.exit_code(timeout)
        if code is None:
            raise subprocess.TimeoutExpired("kaixu", timeout or 0)
        return code

    def exit_code(self, timeout: float | None) -> int | None:
        """The exit code, if the server reports it within `timeout` seconds."""
        with self.lock:
            if self.returncode is None:
                reported = select.poll()
                reported.register(self.report, select.POLLIN)
                if reported.poll(None if timeout is None else timeout * 1000):
                    self.returncode = int(self.line())
                    self.report.close()
            return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


Started = subprocess.Popen[bytes] | ForkedProcess


class ForkServer:
    """The fork server of this test process; started when it is first needed."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.requests: socket.socket | None = None

    def begin(self) -> socket.socket:
        """Start the server."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1024 * 1024)
        with theirs:
            # `kaixu doctor` finds gateways by `serve` in the command line, which forked processes inherit.
            server = subprocess.Popen(
                [sys.executable, "-m", "tests.support.fork_server", str(theirs.fileno()), "serve"],
                pass_fds=[theirs.fileno()],
                cwd=Path(__file__).parents[2],
                env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")},
                stdin=subprocess.DEVNULL,
            )
        atexit.register(server.wait)
        atexit.register(ours.close)  # runs first: it makes the server exit
        return ours

    def fork(self, start: Start, out: int, err: int) -> ForkedProcess:
        """Fork a process."""
        report, theirs = os.pipe()
        with self.lock:
            self.requests = self.requests or self.begin()
            try:
                socket.send_fds(self.requests, [msgspec.json.encode(start)], [out, err, theirs])
            finally:
                os.close(theirs)
        return ForkedProcess(report)


SERVER = ForkServer()


def can_fork(environment: Mapping[str, str]) -> bool:
    """Whether a forked process would behave like one that is executed with this environment."""
    read = [name for name in environment if (name.startswith("PYTHON") and name != "PYTHONPATH") or name in LOCALE]
    folders = environment.get("PYTHONPATH", "").split(os.pathsep)
    customized = any((Path(folder) / "sitecustomize.py").exists() for folder in folders if folder)
    return not read and not customized and not os.environ.get("KAIXU_TEST_EXEC")


def start_kaixu(*words: str, environment: Mapping[str, str], out: IO[bytes], folder: Path | None = None) -> Started:
    """Start `kaixu …`, with both of its outputs into a file."""
    if not can_fork(environment):
        return subprocess.Popen(
            [sys.executable, "-m", "kaixu", *words], env=dict(environment), cwd=folder, stdout=out, stderr=out
        )
    return SERVER.fork(Start(list(words), dict(environment), str(folder or Path.cwd())), out.fileno(), out.fileno())


def run_kaixu(
    *words: str, environment: Mapping[str, str], folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `kaixu …` to its end, with separate outputs that are not terminals."""
    if not can_fork(environment):
        return subprocess.run(
            [sys.executable, "-m", "kaixu", *words],
            env=dict(environment),
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start = Start(list(words), dict(environment), str(folder or Path.cwd()))
        process = SERVER.fork(start, out.fileno(), err.fileno())
        code = process.wait(120)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode())
    return subprocess.CompletedProcess(["kaixu", *words], code, *texts)
