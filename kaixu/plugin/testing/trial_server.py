"""The two processes behind `gateway(…)`: one forks gateways, the other has their databases. Both serve all tests."""

from __future__ import annotations

import atexit
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

#: What the first gateway may wait for the two processes, and everything else for an answer.
ANSWER_S = 120.0


class Exits:
    """The exit codes of forked processes, by their numbers."""

    def __init__(self) -> None:
        self._codes: dict[int, int] = {}
        self._changed = threading.Condition()

    def put(self, pid: int, code: int) -> None:
        """A process has ended."""
        with self._changed:
            self._codes[pid] = code
            self._changed.notify_all()

    def get(self, pid: int) -> int | None:
        """Its exit code; None: it runs."""
        return self._codes.get(pid)

    def wait(self, pid: int, seconds: float) -> int | None:
        """Its exit code, once it has ended; None: it still runs after so many seconds."""
        with self._changed:
            self._changed.wait_for(lambda: pid in self._codes, seconds)
            return self._codes.get(pid)


class Server:
    """Both processes; they are started when the first gateway is, and end with this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._processes: subprocess.Popen[bytes] | None = None
        self._databases: subprocess.Popen[bytes] | None = None
        self._pids: queue.Queue[int | None] = queue.Queue()
        self.exits = Exits()
        self.home: Path | None = None

    def start(self) -> Path:
        """Start them, once; the folder for the files of all gateways."""
        with self._lock:
            if self.home is None:
                self.home = Path(tempfile.mkdtemp(prefix="kaixu-trials-", dir=memory()))
                self.home.chmod(0o755)  # the embedded Postgres may run as another user
                atexit.register(self.stop)
                self._databases = begin("kaixu.trial.databases", str(self.home))
                self._processes = begin("kaixu.trial.processes")
                threading.Thread(target=self._read_reports, daemon=True).start()
            return self.home

    def stop(self) -> None:
        """Stop both, with everything that they have started, and remove all files."""
        for process in (self._processes, self._databases):
            if process is not None:
                assert process.stdin is not None
                assert process.stdout is not None
                with suppress(BrokenPipeError):
                    process.stdin.close()
                process.wait()
                process.stdout.close()
        if self.home is not None:
            shutil.rmtree(self.home, ignore_errors=True)

    def _read_reports(self) -> None:
        assert self._processes is not None
        assert self._processes.stdout is not None
        for line in self._processes.stdout:
            report = msgspec.json.decode(line)
            if "ended" in report:
                self.exits.put(report["ended"], report.get("code", 0))
            else:
                self._pids.put(report["pid"])
        self._pids.put(None)

    def fork(self, start: dict[str, Any]) -> int:
        """Start `kaixu …`; its number. See `kaixu.trial.processes.Start`."""
        with self._lock:
            assert self._processes is not None
            assert self._processes.stdin is not None
            self._processes.stdin.write(msgspec.json.encode(start) + b"\n")
            self._processes.stdin.flush()
            pid = self._pids.get(timeout=ANSWER_S)
        if pid is None:
            raise RuntimeError("the process that gateways of tests are forked from has ended; its output says why")
        return pid

    def database(self, **request: Any) -> str:
        """Make, move or drop a database; its address. See `kaixu.trial.databases`."""
        with self._lock:
            assert self._databases is not None
            assert self._databases.stdin is not None
            assert self._databases.stdout is not None
            self._databases.stdin.write(msgspec.json.encode(request) + b"\n")
            self._databases.stdin.flush()
            line = self._databases.stdout.readline()
        if not line:
            raise RuntimeError("the Postgres of the tests has ended; its output says why")
        answer = msgspec.json.decode(line)
        if isinstance(answer, dict):
            raise RuntimeError(answer["error"])
        return str(answer)


SERVER = Server()


def begin(module: str, *words: str) -> subprocess.Popen[bytes]:
    """One of the two processes. It sees the modules that this process sees."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return subprocess.Popen(  # noqa: S603 - this Python, and a module of ours
        [sys.executable, "-m", module, *words],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def memory() -> Path | None:
    """A folder in memory with room for a server, where there is one: databases are copied faster there."""
    folder = Path("/dev/shm")  # noqa: S108
    return folder if folder.is_dir() and shutil.disk_usage(folder).free > 1 << 30 else None
