"""`kaixu work` as operators run it."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from .kaixu import Started, start_kaixu
from .process import Process


class Worker:
    """One `kaixu work`, which can be killed and restarted."""

    def __init__(self, home: Path, dsn: str, config: str) -> None:
        self.as_gateway = Process(home, dsn, config)
        self.log = home / "work.log"
        self.process: Started | None = None

    def start(self) -> None:
        """Start the process; it claims jobs as soon as it is ready."""
        with self.log.open("ab") as log:
            self.process = start_kaixu("work", environment=self.as_gateway.environment, out=log)

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """kill -9."""
        if self.alive:
            assert self.process is not None
            self.process.kill()
            self.process.wait()

    async def stop(self) -> int:
        """SIGTERM, and its exit code."""
        if not self.alive:
            return 0
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self.process.wait, 60)
