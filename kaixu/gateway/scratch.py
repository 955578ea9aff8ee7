"""The folder of the temporary files of one process' calls. It is locked, so that other processes leave it alone."""

from __future__ import annotations

from pathlib import Path

from kaixu.plugin.scratch import remove
from kaixu.store.spool import is_at, locked

from .claim import is_locked_now

LOCK = ".lock"


class ScratchFolder:
    """A new folder `name` below `root`; those that ended processes have left there are removed."""

    def __init__(self, root: Path, name: str) -> None:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = root / name
        self.lock = root / f"{name}{LOCK}"
        self.file = locked(self.lock)  # before the folder: one without a lock is a leftover
        sweep(root, self.path)

    def close(self) -> None:
        """Remove it."""
        remove(self.path)
        self.lock.unlink(missing_ok=True)
        self.file.close()


def sweep(root: Path, own: Path) -> None:
    """Remove the folders and locks of processes that have ended."""
    for name in {path.name.removesuffix(LOCK) for path in root.iterdir()} - {own.name}:
        lock = root / f"{name}{LOCK}"
        with lock.open("ab") as file:
            if is_locked_now(file) and is_at(file, lock):
                remove(root / name)
                lock.unlink(missing_ok=True)
