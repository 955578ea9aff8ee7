"""Debian's PgBouncer in front of a test's Postgres, as the docs set it up: transaction mode, roles by `auth_query`."""

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
ROLE, LOOKUP, PASSWORD = "kaixu_gateway", "pgbouncer_lookup", "a-password-for-tests"

CONFIG = """
[databases]
{database} = host={host} port={server_port} dbname={database}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
logfile = {folder}/pgbouncer.log
pool_mode = transaction
auth_type = scram-sha-256
auth_file = {folder}/userlist.txt
auth_user = {lookup}
auth_query = select name, secret from pgbouncer_lookup.secret_of($1)
max_client_conn = 400
default_pool_size = 12
{more}
"""

#: What an operator runs once in the gateway's database.
SETUP = """
create schema pgbouncer_lookup authorization {lookup};
create function pgbouncer_lookup.secret_of(p_name text, out name text, out secret text)
language sql security definer set search_path = pg_catalog as $$
    select rolname::text, rolpassword from pg_authid where rolname = p_name and rolcanlogin
$$;
revoke all on function pgbouncer_lookup.secret_of(text) from public;
grant execute on function pgbouncer_lookup.secret_of(text) to {lookup};
"""


async def prepare(dsn: str) -> None:
    """Make the roles and the function that the configuration names; once for a server, once for a database."""
    connection = await asyncpg.connect(dsn)
    try:
        for role, rights in ((ROLE, "createrole"), (LOOKUP, "")):
            if not await connection.fetchval("select 1 from pg_roles where rolname = $1", role):
                await connection.execute(f"create role {role} login {rights} password '{PASSWORD}'")
        name = await connection.fetchval("select current_database()")
        await connection.execute(f"grant create on database {name} to {ROLE}")
        await connection.execute("create extension if not exists vector")
        await connection.execute(SETUP.format(lookup=LOOKUP))
    finally:
        await connection.close()


class PgBouncer:
    """One PgBouncer for one database; it can be killed and started again on its port."""

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
        text = CONFIG.format(
            database=self.database,
            host=host,
            server_port=parts.port or 5432,
            port=self.port,
            folder=folder,
            lookup=LOOKUP,
            more=more,
        )
        (folder / "pgbouncer.ini").write_text(text)

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
