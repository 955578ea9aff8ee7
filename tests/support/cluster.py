"""A Postgres of its own, as an operator has one: passwords, an archive of WAL, base backups, recovery to a point in time."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

from kaixu.store.embedded import pg_restore_commands

from .process import free_port

PASSWORD = "the-database-s-password"


class Cluster:
    """One server on the programs of the embedded Postgres, as a user who is not root."""

    def __init__(self, folder: Path, *settings: str) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.port = free_port()
        self.settings = settings

    @classmethod
    def made(cls, *settings: str) -> Cluster:
        """A new one, in a folder that `remove` removes."""
        folder = Path(tempfile.mkdtemp(prefix="kaixu-cluster-"))
        folder.chmod(0o755)
        cluster = cls(folder, *settings)
        (folder / "password").write_text(PASSWORD)
        if os.geteuid() == 0:
            shutil.chown(folder, user())
        cluster.run(
            "initdb", "-D", str(cluster.data), "-U", "postgres", "--auth-local=trust", "--auth-host=scram-sha-256",
            "--no-sync", "--pwfile", str(folder / "password"), "-E", "UTF8", "--locale=C",
        )  # fmt: skip
        return cluster

    def run(self, program: str, *words: str, **variables: str) -> str:
        """Run one of Postgres's programs; what it writes."""
        path = pg_restore_commands()[0].with_name(program)
        who = {"user": user(), "group": pwd.getpwnam(user()).pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
        done = subprocess.run(
            [str(path), *words],
            env={"PATH": os.environ["PATH"], "PGPASSWORD": PASSWORD, "LC_ALL": "C", **variables},
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            **who,  # type: ignore[call-overload]
        )
        assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}{self.log()}"
        return str(done.stdout)

    def log(self) -> str:
        """The server's log."""
        path = self.folder / f"{self.data.name}.log"
        return path.read_text() if path.exists() else ""

    def start(self) -> None:
        """Start it, and wait until it accepts connections; after a backup was restored, until it is recovered."""
        options = [f"port={self.port}", "listen_addresses=127.0.0.1", f"unix_socket_directories={self.folder}"]
        words = " ".join(f"-c {one}" for one in [*options, "fsync=off", *self.settings])
        log = str(self.folder / f"{self.data.name}.log")
        self.run("pg_ctl", "-D", str(self.data), "-w", "-t", "120", "-l", log, "-o", words, "start")

    def stop(self, how: str = "fast") -> None:
        """Stop it; `immediate`: as if its machine had lost its power."""
        self.run("pg_ctl", "-D", str(self.data), "-w", "-t", "120", "-m", how, "stop")

    def remove(self) -> None:
        """Stop it, if it runs, and remove its folder."""
        if (self.data / "postmaster.pid").exists():
            self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    def dsn(self, user: str = "postgres", password: str = PASSWORD, database: str = "postgres") -> str:
        """An address by TCP."""
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"


def user() -> str:
    """Who runs servers where the tests run as root, which Postgres refuses."""
    return "nobody"
