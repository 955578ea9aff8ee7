"""The tables of an integration in a real Postgres, for calls without a gateway."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg
import msgspec

from kaixu.plugin.operation import Integration
from kaixu.plugin.statements import refusal_of

from .checks import must
from .trial_server import SERVER

ROLE = "trial_plugin"

#: The rows of each table, as texts without what may differ from run to run.
Snapshot = Mapping[str, Sequence[str]]


class Tables:
    """A schema with the tables that an integration's files make, in a database of its own. See `tables_of`."""

    def __init__(self, integration: Integration, folder: Path, dsn: str) -> None:
        self.schema = f"kaixu_{integration.name.replace('-', '_')}"
        self.files = sorted(folder.glob("*.sql"))
        self._dsn = dsn
        must(bool(self.files), f"{folder} has no migrations: add 0001_what.sql, or leave out `schema`")

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection as the role that owns the tables."""
        connection = await asyncpg.connect(self._dsn, server_settings={"search_path": self.schema})
        try:
            for name in ("json", "jsonb"):
                await connection.set_type_codec(
                    name,
                    schema="pg_catalog",
                    encoder=lambda value: msgspec.json.encode(value).decode(),
                    decoder=msgspec.json.decode,
                )
            yield connection
        finally:
            await connection.close()

    async def make(self, connection: asyncpg.Connection) -> None:
        """Make the tables anew, and go on as their owner."""
        await connection.execute(
            f"""
            reset role;
            do $$ begin create role {ROLE} nologin; exception when duplicate_object then null; end $$;
            drop schema if exists {self.schema} cascade;
            create schema {self.schema} authorization {ROLE};
            set role {ROLE};
            """
        )
        for file in self.files:
            try:
                await connection.execute(file.read_text(encoding="utf-8"))
            except asyncpg.PostgresError as error:
                raise AssertionError(f"{file.name} cannot be applied: {error}") from None

    async def snapshot(self, connection: asyncpg.Connection, ignored: Collection[str] = ()) -> Snapshot:
        """All rows, without their times and without the columns `ignored`, "table.column"."""
        tables = await connection.fetch(
            "select tablename from pg_catalog.pg_tables where schemaname = $1 order by 1", self.schema
        )
        found: dict[str, list[str]] = {}
        for (table,) in tables:
            rows = await connection.fetch(f'select * from "{table}"')  # noqa: S608 - a name of the catalog
            found[table] = sorted(
                repr({
                    name: value for name, value in row.items()
                    if not isinstance(value, datetime) and f"{table}.{name}" not in ignored
                })
                for row in rows
            )  # fmt: skip
        return found

    async def rows_of(self, connection: asyncpg.Connection, customer_id: int) -> Snapshot:
        """The rows of one customer, of the tables that have a column `customer_id`."""
        tables = await connection.fetch(
            "select table_name from information_schema.columns where table_schema = $1 and column_name = 'customer_id' "
            "order by 1",
            self.schema,
        )
        found: dict[str, list[str]] = {}
        for (table,) in tables:
            rows = await connection.fetch(f'select * from "{table}" where customer_id = $1', customer_id)  # noqa: S608
            found[table] = sorted(repr(dict(row)) for row in rows)
        return found


#: By the name of the integration and its folder.
MADE: dict[tuple[str, Path], Tables] = {}
NUMBERS = count(1)


def tables_of(integration: Integration, modules: Sequence[str]) -> Tables | None:
    """The tables of an integration; None: it has none. `modules`: some of the package with the folder `schema`."""
    if integration.schema is None:
        return None
    found = [folder for module in modules if (folder := folder_beside(module, integration.schema))]
    must(bool(found), f"there is no folder `{integration.schema}` beside the modules {', '.join(modules)}")
    folder = found[0]
    if (integration.name, folder) not in MADE:
        SERVER.start()
        dsn = SERVER.database(make=f"trial_tables_{next(NUMBERS)}")
        MADE[integration.name, folder] = Tables(integration, folder, dsn)
    return MADE[integration.name, folder]


def folder_beside(module: str, name: str) -> Path | None:
    """The folder beside a module, or beside a package that it is in."""
    found = sys.modules[module]
    if found.__file__ is None:
        return None
    levels = module.count(".") + (1 if hasattr(found, "__path__") else 0)
    places = list(Path(found.__file__).parents[: max(1, levels)])
    return next((place / name for place in places if (place / name).is_dir()), None)


class RealStatements:
    """Runs the statements of one call in its tables. `pause` is awaited before each."""

    def __init__(self, tables: Tables, connection: asyncpg.Connection, pause: Callable[[], Awaitable[None]]) -> None:
        self.tables = tables
        self.connection = connection
        self._pause = pause

    async def fetch(self, sql: str, args: tuple[Any, ...]) -> list[dict[str, Any]]:
        """All rows."""
        await self._before(sql)
        return [dict(row) for row in await self.connection.fetch(sql, *args)]

    async def execute(self, sql: str, args: tuple[Any, ...]) -> str:
        """The command tag."""
        await self._before(sql)
        return str(await self.connection.execute(sql, *args))

    async def _before(self, sql: str) -> None:
        if why := refusal_of(sql):
            raise AssertionError(f"{sql!r} is not possible in a gateway: {why}")
        await self._pause()
