"""Files of a running gateway in its data folder: lock, description, outcome of the last reload."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from time import monotonic, sleep
from typing import IO, TYPE_CHECKING, Protocol, TypeVar
from urllib.parse import parse_qs, urlsplit

import msgspec

if TYPE_CHECKING:  # the supervisor of several processes imports little
    from kaixu.config.environment import Settings

PID = "serve.pid"
ABOUT = "serve.json"
RELOADED = "reload.json"
RESTARTED = "restart.json"

#: Stands before the process id of job workers in `serve.pid`.
WORKER = "worker "
PID_LENGTH = 40

#: How long a starting gateway waits for the lock, which commands hold for a moment.
LOCK_WAIT_S = 0.5

Record = TypeVar("Record", bound=msgspec.Struct)


class WorkerAbout(msgspec.Struct, frozen=True):
    """One worker of a gateway with several processes. `state`: starting, ready, leaving, or down."""

    slot: int
    pid: int
    state: str
    since: str
    version: str


class About(msgspec.Struct, frozen=True):
    """The description of a running gateway, without secrets."""

    pid: int
    version: str
    since: str
    url: str
    server: str
    config: str
    database: str
    workers: list[WorkerAbout] = []  # of a gateway with several processes, whose supervisor `pid` is


class RestartOutcome(msgspec.Struct, frozen=True):
    """The outcome of a restart of all workers. `began_ns`: as in `ReloadOutcome`."""

    pid: int
    began_ns: int
    refused: str | None = None
    workers: list[WorkerAbout] = []


class ReloadOutcome(msgspec.Struct, frozen=True):
    """The outcome of a reload. `began_ns` is on the machine's monotonic clock, which all its processes share."""

    pid: int
    began_ns: int
    refused: str | None = None  # why the old kaixu.yaml stays in force
    lanes: dict[str, str] = {}
    integrations: dict[str, str] = {}
    restart: list[str] = []  # changed fields that need a restart
    notes: list[str] = []  # not errors, but worth a look


class FolderTaken(Exception):
    """Another gateway runs with this data folder."""


class Presence(Protocol):
    """How a gateway process is known outside: by its data folder, or, as one of several, by their supervisor."""

    def announce(self, about: About) -> None:
        """Say that it serves."""
        ...

    def record_reload(self, outcome: ReloadOutcome) -> None:
        """Tell the outcome of a reload."""
        ...

    def hide(self) -> None:
        """Say that it serves no longer."""
        ...


class Claim:
    """One gateway's lock on its data folder: on `serve.pid`; it ends with the process, also after a crash.

    The file is never removed: a process that has opened the old file would not see a lock on a new one.
    """

    def __init__(self, home: Path) -> None:
        """Raises `FolderTaken`, and `OSError` if the folder cannot be written to."""
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.home = home
        self.file = (home / PID).open("a+")
        if not is_locked_within(self.file, LOCK_WAIT_S):
            owner = self.owner()
            self.file.close()
            raise FolderTaken(f"data folder {home.resolve()} belongs to {owner}")
        self.file.truncate(0)
        (home / ABOUT).unlink(missing_ok=True)
        (home / RELOADED).unlink(missing_ok=True)
        (home / RESTARTED).unlink(missing_ok=True)

    @classmethod
    def inherited(cls, home: Path, descriptor: int) -> Claim:
        """The lock that the process had before it became another program."""
        claim = cls.__new__(cls)
        claim.home = home
        claim.file = os.fdopen(descriptor, "a+")
        return claim

    def owner(self) -> str:
        """The process that holds the lock, as the file names it."""
        self.file.seek(0)
        text = self.file.read(PID_LENGTH).strip()
        if text.startswith(WORKER):
            return f"running job workers: process {text.removeprefix(WORKER)}"
        return f"a running gateway: process {text}" if text else "a gateway that is starting or stopping"

    def announce(self, about: About) -> None:
        """Make this process visible to commands; it must handle signals by now."""
        write_record(self.home / ABOUT, about)
        self.file.truncate(0)
        self.file.write(f"{about.pid}\n")
        self.file.flush()

    def describe(self, about: About) -> None:
        """Replace the description of a process that commands can see already."""
        write_record(self.home / ABOUT, about)

    def announce_workers(self) -> None:
        """Make job workers visible to commands. They are not a gateway: they cannot reload."""
        self.file.truncate(0)
        self.file.write(f"{WORKER}{os.getpid()}\n")
        self.file.flush()

    def record_reload(self, outcome: ReloadOutcome) -> None:
        """Store the outcome of a reload for `kaixu reload`."""
        write_record(self.home / RELOADED, outcome)

    def record_restart(self, outcome: RestartOutcome) -> None:
        """Store the outcome of a restart for `kaixu restart`."""
        write_record(self.home / RESTARTED, outcome)

    def hide(self) -> None:
        """Hide this process from commands; the folder stays locked until the process ends."""
        self.file.truncate(0)
        (self.home / ABOUT).unlink(missing_ok=True)


def running_in(home: Path) -> int | None:
    """The process id of the gateway of a data folder; None if none runs.

    0 while it starts or stops, and for job workers.
    """
    text = locked_text(home)
    if text is None:
        return None
    return int(text) if text.isdigit() else 0


def workers_in(home: Path) -> int | None:
    """The process id of the job workers of a data folder; None if none run."""
    text = locked_text(home) or ""
    number = text.removeprefix(WORKER)
    return int(number) if text.startswith(WORKER) and number.isdigit() else None


def locked_text(home: Path) -> str | None:
    """The text of `serve.pid`; None if no process holds its lock."""
    try:
        with (home / PID).open() as file:
            # A shared lock: two commands that check at once must not mistake each other for a gateway.
            if is_locked_now(file, fcntl.LOCK_SH):
                return None
            return file.read(PID_LENGTH).strip()
    except OSError:
        return None


def read_about(home: Path) -> About | None:
    """The description of the gateway of a data folder."""
    return read_record(home / ABOUT, About)


def read_reload(home: Path) -> ReloadOutcome | None:
    """The outcome of its last reload."""
    return read_record(home / RELOADED, ReloadOutcome)


def read_restart(home: Path) -> RestartOutcome | None:
    """The outcome of its last restart of all workers."""
    return read_record(home / RESTARTED, RestartOutcome)


def other_folders(home: Path) -> list[Path]:
    """The data folders of other gateways on this machine that this user can see."""
    import psutil

    folders = set()
    for process in psutil.process_iter(["cmdline"]):
        if "serve" not in (process.info["cmdline"] or ())[1:]:
            continue
        try:
            # A process that has `serve.pid` open is a gateway, whatever its command.
            opened = [Path(file.path) for file in process.open_files() if Path(file.path).name == PID]
        except (psutil.Error, OSError):
            continue
        folders |= {path.parent for path in opened if running_in(path.parent)}
    return sorted(folders - {home.resolve()})


def database_name(settings: Settings) -> str:
    """The database in the settings, without user and password."""
    if settings.database_url is None:
        return f"embedded, {(settings.kaixu_home / 'postgres').resolve()}"
    try:
        url = urlsplit(settings.database_url.get_secret_value())
        options = parse_qs(url.query)
        host = options.get("host", [url.hostname or "localhost"])[0]
        return f"{host}:{options.get('port', [url.port or 5432])[0]}{url.path or '/'}"
    except ValueError:
        return "DATABASE_URL"


def is_locked_now(file: IO[str] | IO[bytes], kind: int = fcntl.LOCK_EX) -> bool:
    """Try to lock a file; whether that worked."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_locked_within(file: IO[str], seconds: float) -> bool:
    """Lock a file, waiting up to `seconds` for another process to release it; whether that worked."""
    end = monotonic() + seconds
    while not is_locked_now(file):
        if monotonic() >= end:
            return False
        sleep(0.02)
    return True


def write_record(path: Path, record: msgspec.Struct) -> None:
    """Replace a record atomically."""
    draft = path.with_suffix(".draft")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(record))
    draft.replace(path)


def read_record(path: Path, kind: type[Record]) -> Record | None:
    """Read a record; None if it is missing or invalid."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.MsgspecError):
        return None
