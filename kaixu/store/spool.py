"""Settlements while the database is away: a file that survives the process, replayed when it is back."""

from __future__ import annotations

import fcntl
import os
import threading
import zlib
from pathlib import Path
from typing import IO

import msgspec

from .admission import Settlement


class Spool:
    """An append-only file of settlements below `folder`, one process a file.

    A line is a checksum, a space and the settlement as JSON. `append` returns
    when the line is on the disk, so nothing that it took is lost; a line that a
    crash cut short was never confirmed, and is skipped.
    """

    def __init__(self, folder: Path, owner: str) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder = folder
        self.path = folder / f"{owner}.jsonl"
        self.file: IO[bytes] | None = None
        self.lock = threading.Lock()  # appending and taking happen in worker threads
        self.taken = 0

    @property
    def waiting(self) -> bool:
        """Whether this process has spooled anything since the last `claim_files`."""
        return self.file is not None

    def append(self, settlements: list[Settlement]) -> None:
        """Put `settlements` on the disk. Blocks for one fsync."""
        with self.lock:
            if self.file is None:
                self.file = locked(self.path)
                directory = os.open(self.folder, os.O_RDONLY)
                try:
                    os.fsync(directory)
                finally:
                    os.close(directory)
            self.file.write(b"".join(map(line_of, settlements)))
            self.file.flush()
            os.fsync(self.file.fileno())

    def claim_files(self) -> list[tuple[Path, IO[bytes]]]:
        """The files to replay, locked for us: what this process has spooled (new lines go to a new file), and
        what dead processes left behind. `remove` each when it is settled, or close it to leave it for later."""
        files = []
        with self.lock:
            if self.file is not None:
                self.taken += 1
                aside = self.path.with_name(f"{self.path.stem}-{self.taken}.jsonl")
                self.path.rename(aside)
                files.append((aside, self.file))
                self.file = None
        for path in sorted(self.folder.glob("*.jsonl")):
            if any(path == taken for taken, _ in files) or path == self.path:
                continue
            try:
                file = path.open("rb")
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
            else:
                if is_at(file, path):
                    files.append((path, file))
                else:  # another process has settled it between our opening and our lock
                    file.close()
        return files

    def put_aside(self, name: str, lines: list[bytes]) -> None:
        """Keep what cannot be settled in the folder `refused`, for the operator to look at. Blocks for one fsync."""
        folder = self.folder / "refused"
        folder.mkdir(exist_ok=True, mode=0o700)
        with (folder / name).open("ab") as file:
            file.write(b"".join(lines))
            file.flush()
            os.fsync(file.fileno())

    @staticmethod
    def remove(path: Path, file: IO[bytes]) -> None:
        """Everything in `path` is settled: remove it."""
        path.unlink(missing_ok=True)
        file.close()


def locked(path: Path) -> IO[bytes]:
    """Open `path` for appending, locked. Another process may take it away before we have the lock: then again."""
    while True:
        file = path.open("ab")
        fcntl.flock(file, fcntl.LOCK_EX)
        if is_at(file, path):
            return file
        file.close()


def is_at(file: IO[bytes], path: Path) -> bool:
    """Whether an open file is still the one that `path` names."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def line_of(settlement: Settlement) -> bytes:
    """One line of the file."""
    body = msgspec.json.encode(settlement)
    return b"%08x %s\n" % (zlib.crc32(body), body)


class SpoolContent(msgspec.Struct, frozen=True):
    """What a spool file holds: settlements, and lines that are damaged or of another edition."""

    settlements: list[Settlement]
    unreadable: list[bytes]

    @property
    def lines(self) -> int:
        """How many lines there are."""
        return len(self.settlements) + len(self.unreadable)


def read(path: Path) -> SpoolContent:
    """Read a spool file. A last line that is cut short was never confirmed, and is skipped."""
    settlements, unreadable = [], []
    for line in path.read_bytes().split(b"\n")[:-1]:
        checksum, _, body = line.partition(b" ")
        try:
            if checksum != b"%08x" % zlib.crc32(body):
                raise ValueError("the checksum is another")
            settlements.append(msgspec.json.decode(body, type=Settlement))
        except ValueError:  # msgspec's are of this kind
            unreadable.append(line + b"\n")
    return SpoolContent(settlements, unreadable)
