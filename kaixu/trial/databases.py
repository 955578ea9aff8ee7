"""The databases of trials: one embedded Postgres for all, whose clock can be moved in each of its databases.

Run by `kaixu.plugin.testing.gateway` as `python -m kaixu.trial.databases FOLDER`; the folder is removed at the end.
Each line on the standard input is a request, answered by one line: `{"make": NAME}`, `{"drop": NAME}`, or
`{"move": NAME, "ahead_s": SECONDS}`. At the end of the input the server is stopped.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import msgspec

from kaixu.store.embedded import EmbeddedPostgres
from kaixu.store.migrate import migrate
from kaixu.store.partitions import ensure_partitions

TEMPLATE = "trial_template"

#: Postgres' own functions get other names, and new ones theirs: so every default, function and statement that says
#: `now()` is moved, those of plugins too. `current_timestamp` is not a function and keeps the machine's time.
MOVABLE = ("now", "transaction_timestamp", "statement_timestamp", "clock_timestamp")
SCHEMA = """
create schema trial_clock;
create table trial_clock.moved (ahead interval not null);
insert into trial_clock.moved values ('0');
grant usage on schema trial_clock to public;
grant select on trial_clock.moved to public;
"""


class Request(msgspec.Struct, omit_defaults=True):
    """One request: one of `make`, `drop` and `move` names a database."""

    make: str | None = None
    drop: str | None = None
    move: str | None = None
    ahead_s: float = 0


class Databases:
    """The databases of one server. `dsn` leads to its first one."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn

    def address(self, name: str) -> str:
        """The address of a database."""
        return urlunsplit(urlsplit(self.dsn)._replace(path=f"/{name}"))

    async def make_template(self) -> None:
        """Make the database that all others are copied from."""
        server = await asyncpg.connect(self.dsn)
        await server.execute(f"create database {TEMPLATE}")
        connection = await asyncpg.connect(self.address(TEMPLATE))
        await connection.execute(SCHEMA)
        for name in MOVABLE:
            kind = "volatile" if name == "clock_timestamp" else "stable"
            moved = f"select pg_catalog.{name}_of_the_machine() + ahead from trial_clock.moved"  # noqa: S608
            await connection.execute(
                f"""
                alter function pg_catalog.{name}() rename to {name}_of_the_machine;
                create function pg_catalog.{name}() returns timestamptz language sql {kind} parallel safe as '{moved}'
                """
            )
        await migrate(connection)
        await ensure_partitions(connection)
        await connection.close()
        await server.execute(f"alter database {TEMPLATE} allow_connections false")
        await server.close()

    async def answer(self, request: Request) -> str:
        """Do what a request says; the address of the database."""
        name = request.make or request.drop or request.move
        assert name is not None
        assert name.isidentifier()
        if request.move:
            connection = await asyncpg.connect(self.address(name))
            await connection.execute(
                "update trial_clock.moved set ahead = make_interval(secs => $1)", float(request.ahead_s)
            )
            await ensure_partitions(connection)  # those of the month that it is now
            await connection.close()
        else:
            connection = await asyncpg.connect(self.dsn)
            if request.make:
                await connection.execute(f"create database {name} template {TEMPLATE} strategy file_copy")
            else:
                await connection.execute(f"drop database if exists {name} with (force)")
            await connection.close()
        return self.address(name)


def main() -> None:
    """Serve until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt ends the tests, which end this process
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    home = Path(sys.argv[1])
    embedded = EmbeddedPostgres(home / "server")
    try:
        databases = Databases(embedded.start())
        asyncio.run(databases.make_template())
        for line in sys.stdin.buffer:
            try:
                answer: object = asyncio.run(databases.answer(msgspec.json.decode(line, type=Request)))
            except (asyncpg.PostgresError, OSError) as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
            sys.stdout.buffer.flush()
    finally:
        if embedded.server is not None:
            embedded.server.cleanup()
        shutil.rmtree(home, ignore_errors=True)  # also after tests that were killed


if __name__ == "__main__":
    main()
