"""Debian's PgBouncer in front of a test's Postgres, as docs/operators/pooler.md sets it up."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg

from .nginx import is_listening
from .process import free_port

PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/sbin")
MISSING = "pgbouncer is missing: apt-get install pgbouncer"

#: The gateways' role, and the one that looks passwords up.
ROLE, LOOKUP, PASSWORD = "kaixu_pooled_gateway", "kaixu_pooled_lookup", "a-password-for-tests"

PAGE = (Path(__file__).parents[2] / "docs" / "operators" / "pooler.md").read_text()


def block(language: str) -> str:
    """What the page tells operators to write."""
    return PAGE.partition(f"```{language}\n")[2].partition("```")[0]


async def prepare(dsn: str) -> None:
    """Make the roles and the function that the configuration names; once for a server, once for a database."""
    connection = await asyncpg.connect(dsn)
    try:
        text = block("sql").replace("pgbouncer", LOOKUP).replace("'kaixu'", f"'{ROLE}'")
        lookup, *statements = text.splitlines(keepends=True)
        made = {ROLE: f"create role {ROLE} login createrole password '…'", LOOKUP: lookup}
        for role, statement in made.items():
            if not await connection.fetchval("select 1 from pg_roles where rolname = $1", role):
                await connection.execute(statement.replace("…", PASSWORD))
        name = await connection.fetchval("select current_database()")
        await connection.execute(f"grant create on database {name} to {ROLE}")
        await connection.execute("".join(statements))
    finally:
        await connection.close()


class PgBouncer:
    """One PgBouncer for one database; it can be killed and started again on its port. `more`: other settings."""

    def __init__(self, folder: Path, dsn: str, *, more: str = "") -> None:
        assert PGBOUNCER is not None, MISSING
        parts = urlsplit(dsn)
        self.folder = folder
        self.port = free_port()
        self.database = parts.path.strip("/")
        self.dsn = f"postgresql://{ROLE}:{PASSWORD}@127.0.0.1:{self.port}/{self.database}?sslmode=disable"
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True)
        (folder / "userlist.txt").write_text(f'"{LOOKUP}" "{PASSWORD}"\n')
        host = parse_qs(parts.query).get("host", [parts.hostname or ""])[0]
        self.host = Path(host)
        changed = {
            "kaixu": f"{self.database} = host={host} port={parts.port or 5432} dbname={self.database}",
            "listen_addr": "listen_addr = 127.0.0.1",
            "listen_port": f"listen_port = {self.port}",
            "auth_user": f"auth_user = {LOOKUP}",
            "auth_query": f"auth_query = select p_user, p_password from {LOOKUP}.password_of($1)",
            "auth_file": f"auth_file = {folder}/userlist.txt",
        } | {line.partition(" = ")[0]: line for line in more.splitlines()}
        lines = [changed.pop(line.partition(" = ")[0], line) for line in block("ini").splitlines()]
        lines += ["unix_socket_dir =", f"logfile = {folder}/pgbouncer.log", *changed.values()]
        (folder / "pgbouncer.ini").write_text("\n".join(lines) + "\n")

    def start(self) -> None:
        """Start it, and wait until it listens. It refuses to run as root, so the owner of Postgres' socket does it."""
        user: int | None = None
        if os.geteuid() == 0:
            user = self.host.stat().st_uid if self.host.is_dir() else pwd.getpwnam("nobody").pw_uid
            for one in (self.folder, *self.folder.iterdir()):
                os.chown(one, user, -1)
        command = [str(PGBOUNCER), "-q", str(self.folder / "pgbouncer.ini")]
        self.process = subprocess.Popen(command, user=user, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 30
        while not is_listening(self.port):
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < until, self.log()
            time.sleep(0.02)

    def log(self) -> str:
        """What it has logged."""
        file = self.folder / "pgbouncer.log"
        return file.read_text() if file.exists() else ""

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(30)
            self.process = None
