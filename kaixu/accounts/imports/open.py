"""Opens what an operator names: a SQLite file, a dump of Postgres, or the address of a Postgres."""

from __future__ import annotations

import re
import subprocess
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg

from kaixu.plugin.errors import Invalid, NotFound
from kaixu.store.embedded import pg_restore_commands
from kaixu.store.pool import AWAY

from .dump import Dump, copied, mysql_refused
from .source import Loader, Source, loaded_source, sqlite_source

SQLITE = b"SQLite format 3\x00"
CUSTOM = b"PGDMP"
GZIP = b"\x1f\x8b"

#: Addresses of MySQL: as a URL, and as Go writes them.
MYSQL_ADDRESS = re.compile(r"(mysql|mariadb)(\+\w+)?:|.*@(tcp|unix)\(", re.IGNORECASE)

#: Parameters of Prisma in an address that Postgres does not know.
PRISMA = {"schema", "connection_limit", "pool_timeout", "pgbouncer", "socket_timeout", "statement_cache_size"}


@asynccontextmanager
async def open_source(where: str, wanted: Collection[str]) -> AsyncIterator[Source]:
    """What `where` names, with the tables `wanted`. Raises `Invalid`, `NotFound`."""
    if MYSQL_ADDRESS.match(where):
        raise mysql_refused()
    if re.match(r"postgres(ql)?://", where):
        with loaded_source(wanted) as (source, loader):
            await read_postgres(where, source, loader)
            yield source
        return
    if "://" in where:
        raise Invalid("the address is not one of Postgres", hint="Name a file, or postgresql://user@host/database.")
    path = Path(where)
    kind = kind_of(path)
    if kind == "sqlite":
        with sqlite_source(path) as source:
            yield source
        return
    with loaded_source(wanted) as (source, loader):
        if kind == "plain":
            read_plain(path, loader)
        else:
            read_archive(path, loader)
        yield source


def kind_of(path: Path) -> str:
    """`sqlite`, `plain`, or `archive` for what pg_restore reads. Raises `NotFound`, `Invalid`."""
    try:
        if path.is_dir():
            if (path / "toc.dat").is_file():
                return "archive"
            raise Invalid(f"{path.name} is a folder", hint="Name the file of the dump.")
        with path.open("rb") as file:
            start = file.read(512)
    except FileNotFoundError:
        raise NotFound(f"there is no file {path.name}") from None
    except OSError as error:
        raise Invalid(f"{path.name} cannot be read: {error.strerror}") from None
    if start.startswith(SQLITE):
        return "sqlite"
    if start.startswith((CUSTOM, b"toc.dat\x00")):
        return "archive"
    if start.startswith(GZIP):
        raise Invalid(f"{path.name} is compressed", hint=f"gunzip --keep {path.name}, and import the result.")
    if not start:
        raise Invalid(f"{path.name} is empty")
    if b"\x00" in start:
        raise Invalid(
            f"{path.name} is neither a SQLite file nor a dump of Postgres",
            hint="Make one with `pg_dump --no-owner DATABASE > dump.sql`.",
        )
    return "plain"


def read_plain(path: Path, loader: Loader) -> None:
    """Load a plain dump from its file. Raises `Invalid`."""
    with path.open("rb") as file:
        read_dump(file, loader)


def read_dump(file: IO[bytes], loader: Loader) -> None:
    """Load a plain dump. Raises `Invalid`, also where it has no table at all."""
    Dump(file, loader).read()
    if not loader.columns and not loader.source.skipped:
        raise Invalid(
            "the file has no rows of a table", hint="Make a dump with `pg_dump --no-owner DATABASE > dump.sql`."
        )


def read_archive(path: Path, loader: Loader) -> None:
    """Load a dump in a format of its own (-Fc, -Ft, -Fd), through pg_restore, which writes it as plain SQL.

    Raises `Invalid` where no pg_restore here can read it.
    """
    for command in pg_restore_commands():
        if is_readable(command, path):
            with restored(command, path) as file:
                read_dump(file, loader)
            return
    raise Invalid(
        f"no pg_restore here can read {path.name}: it may be from a newer Postgres, or damaged",
        hint="Make a plain dump with `pg_dump --format=plain`, or give the database's address.",
    )


def is_readable(command: Path, path: Path) -> bool:
    """Whether this pg_restore knows the format of the file."""
    try:
        ran = subprocess.run(  # noqa: S603 - a known program, and a path as one argument
            [command, "--list", "--", path.resolve()], capture_output=True, timeout=600, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return ran.returncode == 0


@contextmanager
def restored(command: Path, path: Path) -> Iterator[IO[bytes]]:
    """The rows of an archive as plain SQL. Raises `Invalid` where pg_restore fails on the way."""
    process = subprocess.Popen(  # noqa: S603 - a known program, and a path as one argument
        [command, "--data-only", "--no-owner", "--file=-", "--", path.resolve()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        yield process.stdout
        if process.wait() != 0:
            raise Invalid(f"{path.name} is damaged: pg_restore could not read all of it")
    finally:
        process.kill()
        process.stdout.close()
        process.wait()


async def read_postgres(where: str, source: Source, loader: Loader) -> None:
    """Load the tables of a live Postgres, as they are at one moment. Raises `Invalid`."""
    try:
        address, schema = without_prisma(where)
        connection = await asyncpg.connect(address, timeout=10, statement_cache_size=0)
    except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError):
        raise Invalid("that database refuses the user, or is not there", hint="Check the address.") from None
    except (ValueError, asyncpg.PostgresError):
        raise Invalid(
            "the address cannot be used", hint="It is postgresql://user:password@host:port/database."
        ) from None
    except AWAY:
        raise Invalid("that database does not answer", hint="Check the address.") from None
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            for table in await tables_of(connection, schema):
                if loader.wants(table.name):
                    await copy_table(connection, table, loader)
                else:
                    loader.skip(table.name, table.rows)
        loader.finish()
    except asyncpg.InsufficientPrivilegeError as error:
        raise Invalid(f"that database's user may not read a table: {error}", hint="Grant it `select`.") from None
    except (*AWAY, asyncpg.PostgresError) as error:
        raise Invalid("that database failed while it was read", hint="Try again.") from error
    finally:
        await connection.close(timeout=5)


class Table(NamedTuple):
    """A table of a live Postgres; `rows` is the server's estimate."""

    oid: int
    schema: str
    name: str
    rows: int


def without_prisma(where: str) -> tuple[str, str | None]:
    """The address without parameters that only Prisma knows, and the schema that it names."""
    parts = urlsplit(where)
    given = parse_qsl(parts.query)
    rest = [(name, value) for name, value in given if name not in PRISMA]
    return urlunsplit(parts._replace(query=urlencode(rest))), dict(given).get("schema")


async def tables_of(connection: asyncpg.Connection, schema: str | None) -> list[Table]:
    """The tables of a database: of one name the one in the schema that is given, else in `public`, else in another."""
    rows = await connection.fetch(
        """
        select distinct on (c.relname) c.oid::bigint, n.nspname, c.relname, greatest(c.reltuples, 0)::bigint
          from pg_class c
          join pg_namespace n on n.oid = c.relnamespace
         where c.relkind in ('r', 'p') and not c.relispartition
           and n.nspname not in ('pg_catalog', 'information_schema') and n.nspname not like 'pg\\_%'
           and ($1::text is null or n.nspname = $1)
         order by c.relname, n.nspname <> 'public', n.nspname
        """,
        schema,
    )
    return [Table(*row) for row in rows]


async def copy_table(connection: asyncpg.Connection, table: Table, loader: Loader) -> None:
    """Load one table, in the text format of COPY."""
    columns = [
        row["attname"]
        for row in await connection.fetch(
            "select attname from pg_attribute where attrelid = $1::bigint::oid and attnum > 0 and not attisdropped "
            "order by attnum",
            table.oid,
        )
    ]
    loader.begin(table.name, columns)
    rest = bytearray()

    async def receive(data: bytes) -> None:
        rest.extend(data)
        *lines, last = bytes(rest).split(b"\n")
        rest[:] = last
        for line in lines:
            loader.add(table.name, copied(line.decode("utf-8", "replace")))

    await connection.copy_from_table(
        table.name, schema_name=table.schema, columns=columns, output=receive, format="text"
    )
