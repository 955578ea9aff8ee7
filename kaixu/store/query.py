"""One statement and the shape of its rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import msgspec

Row = TypeVar("Row", bound=msgspec.Struct)


class Connection(Protocol):
    """What a query runs on: a pool, or a connection inside somebody's transaction."""

    async def fetch(self, query: str, *args: Any) -> Sequence[Any]: ...
    async def fetchrow(self, query: str, *args: Any) -> Any: ...
    async def fetchval(self, query: str, *args: Any) -> Any: ...
    async def execute(self, query: str, *args: Any) -> str: ...


class DatabaseSession(Connection, Protocol):
    """A connection of one's own, on which transactions can be begun."""

    def transaction(self, *, isolation: Any = None, readonly: bool = False) -> Any: ...


class Query(Generic[Row]):
    """A statement whose columns are, by name and order, the fields of `row`.

    Every query registers itself: one test prepares them all against the
    migrated database and compares columns with fields.
    """

    registered: ClassVar[list[Query[Any]]] = []

    def __init__(self, row: type[Row], sql: str) -> None:
        self.row = row
        self.sql = sql
        Query.registered.append(self)

    async def all(self, db: Connection, *values: object) -> list[Row]:
        """Every row."""
        row = self.row
        return [row(*record) for record in await db.fetch(self.sql, *values)]

    async def one(self, db: Connection, *values: object) -> Row | None:
        """The first row, or None."""
        record = await db.fetchrow(self.sql, *values)
        return None if record is None else self.row(*record)
