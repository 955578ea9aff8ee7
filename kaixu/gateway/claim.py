"""What a running gateway leaves in its data folder: its claim to it, what it is, how its last reload ended."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from time import monotonic, sleep
from typing import IO, TypeVar
from urllib.parse import parse_qs, urlsplit

import msgspec

from kaixu.config.environment import Settings

PID = "serve.pid"
ABOUT = "serve.json"
RELOADED = "reload.json"

#: How long a command may look while a gateway starts.
PATIENCE_S = 0.5

Record = TypeVar("Record", bound=msgspec.Struct)


class About(msgspec.Struct, frozen=True):
    """A running gateway, without its secrets."""

    pid: int
    version: str
    since: str
    url: str
    server: str
    config: str
    database: str


class Reloaded(msgspec.Struct, frozen=True):
    """How a reload ended. `began_ns`: on the machine's monotonic clock, which all its processes share."""

    pid: int
    began_ns: int
    refused: str | None = None  # why the old kaixu.yaml stays
    lanes: dict[str, str] = {}
    restart: list[str] = []  # the fields that were changed and wait for a restart
    notes: list[str] = []  # what is worth a look, though nothing is wrong


class FolderTaken(Exception):
    """Another gateway serves with this data folder."""


class Claim:
    """One gateway's claim to its data folder: a lock on `serve.pid`, which ends with the process however that ends.

    The file is never removed: who opened it before would hold a lock that nobody else sees.
    """

    def __init__(self, home: Path) -> None:
        """Raises `FolderTaken`, and `OSError` where the folder cannot be written to."""
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.home = home
        self.file = (home / PID).open("a+")
        if not is_locked_within(self.file, PATIENCE_S):
            said = self.number() or "that is still starting"
            self.file.close()
            raise FolderTaken(f"data folder {home.resolve()} belongs to a running gateway: process {said}")
        self.file.truncate(0)
        (home / ABOUT).unlink(missing_ok=True)
        (home / RELOADED).unlink(missing_ok=True)

    def number(self) -> str:
        """The process that the file names."""
        self.file.seek(0)
        return self.file.read(20).strip()

    def announce(self, about: About) -> None:
        """Let commands find this process: from now on it takes signals."""
        write(self.home / ABOUT, about)
        self.file.truncate(0)
        self.file.write(f"{about.pid}\n")
        self.file.flush()

    def told(self, outcome: Reloaded) -> None:
        """Let `kaixu reload` know how it went."""
        write(self.home / RELOADED, outcome)

    def hide(self) -> None:
        """Commands find this process no more; the folder stays its own until it ends."""
        self.file.truncate(0)
        (self.home / ABOUT).unlink(missing_ok=True)


def running_in(home: Path) -> int | None:
    """The process of the gateway that serves with a data folder; 0 while it starts or stops, None if there is none."""
    try:
        with (home / PID).open() as file:
            # Shared: two commands that look at once must not take each other for a gateway.
            if is_locked_now(file, fcntl.LOCK_SH):
                return None
            said = file.read(20).strip()
            return int(said) if said.isdigit() else 0
    except OSError:
        return None


def about(home: Path) -> About | None:
    """What the gateway that serves with a data folder says of itself."""
    return read(home / ABOUT, About)


def reloaded(home: Path) -> Reloaded | None:
    """How its last reload ended."""
    return read(home / RELOADED, Reloaded)


def other_folders(home: Path) -> list[Path]:
    """The data folders of further gateways on this machine, as far as we may see them."""
    import psutil

    found = set()
    for process in psutil.process_iter(["cmdline"]):
        if "serve" not in (process.info["cmdline"] or ())[1:]:
            continue
        try:
            # A process that opened a `serve.pid` is a gateway, whatever its command is called.
            opened = [Path(file.path) for file in process.open_files() if Path(file.path).name == PID]
        except (psutil.Error, OSError):
            continue
        found |= {path.parent for path in opened if running_in(path.parent)}
    return sorted(found - {home.resolve()})


def database_of(given: Settings) -> str:
    """The database that settings mean, without who may use it."""
    if given.database_url is None:
        return f"embedded, {(given.kaixu_home / 'postgres').resolve()}"
    try:
        url = urlsplit(given.database_url.get_secret_value())
        asked = parse_qs(url.query)
        host = asked.get("host", [url.hostname or "localhost"])[0]
        return f"{host}:{asked.get('port', [url.port or 5432])[0]}{url.path or '/'}"
    except ValueError:
        return "DATABASE_URL"


def is_locked_now(file: IO[str], kind: int = fcntl.LOCK_EX) -> bool:
    """Lock a file, if nobody else has; return whether that worked."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_locked_within(file: IO[str], seconds: float) -> bool:
    """`is_locked_now`, once whoever holds it now has let go: a command that looks does so at once."""
    end = monotonic() + seconds
    while not is_locked_now(file):
        if monotonic() >= end:
            return False
        sleep(0.02)
    return True


def write(path: Path, record: msgspec.Struct) -> None:
    """Put a record in the place of an older one, whole."""
    draft = path.with_suffix(".draft")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(record))
    draft.replace(path)


def read(path: Path, kind: type[Record]) -> Record | None:
    """A record, or None where there is none that can be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.MsgspecError):
        return None
