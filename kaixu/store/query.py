"""A SQL statement with its row type."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import msgspec

Row = TypeVar("Row", bound=msgspec.Struct)

#: An argument of a function, by its name, and the parameter that it gets.
ARGUMENT = re.compile(r"\bp_(\w+) => \$(\d+)")

#: The columns and the values of an insert of one row, and the parameter in a value.
INSERT = re.compile(r"\binsert into [\w.]+ \(([^)]+)\)\s+values \((.+?)\)\s*(?:on conflict|returning|$)", re.DOTALL)
PARAMETER = re.compile(r"\$(\d+)")


class Rows(Protocol):
    """What a query that returns rows runs on."""

    async def fetch(self, query: str, *args: Any) -> Sequence[Any]: ...


class Connection(Rows, Protocol):
    """What a query runs on: a pool, or a connection, perhaps inside a transaction."""

    async def fetchrow(self, query: str, *args: Any) -> Any: ...
    async def fetchval(self, query: str, *args: Any) -> Any: ...
    async def execute(self, query: str, *args: Any) -> str: ...


class DatabaseSession(Connection, Protocol):
    """A connection on which transactions can be begun."""

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
        named = {int(number): name for name, number in ARGUMENT.findall(sql)} or inserted_columns(sql)
        self.arguments = [named[number] for number in sorted(named)]
        self._readers: dict[tuple[Any, ...], Callable[[msgspec.Struct], tuple[Any, ...]]] = {}
        Query.registered.append(self)

    def columns(self, rows: Sequence[msgspec.Struct], *, without: Sequence[str] = (), **fields: str) -> list[list[Any]]:
        """One array for each field of `rows`, in the order of the statement's first parameters.

        An argument `p_name` gets the field `name`, or `fields[name]`: the order of the fields does not matter. The
        fields `without` are not arguments.
        """
        read = self._reader(type(rows[0]), without, fields)
        return [list(column) for column in zip(*map(read, rows), strict=True)]

    def values(self, row: msgspec.Struct, *, without: Sequence[str] = (), **fields: str) -> list[Any]:
        """The fields of one row that is inserted, in the order of the statement's parameters, by its columns' names."""
        return list(self._reader(type(row), without, fields)(row))

    def _reader(
        self, kind: type[msgspec.Struct], without: Sequence[str], fields: dict[str, str]
    ) -> Callable[[msgspec.Struct], tuple[Any, ...]]:
        """What reads the values of one row in the order of the parameters; made once for each kind of row."""
        key = kind, *without, *fields.items()
        read = self._readers.get(key)
        if read is None:
            expected = {*kind.__struct_fields__} - {*without}
            names = [fields.get(name, name) for name in self.arguments[: len(expected)]]
            if {*names} != expected:
                raise TypeError(f"the fields of {kind.__name__} are not the statement's arguments: {names}")
            read = self._readers[key] = attrgetter(*names)
        return read

    async def all(self, db: Rows, *values: object) -> list[Row]:
        """Every row."""
        row = self.row
        return [row(*record) for record in await db.fetch(self.sql, *values)]

    async def one(self, db: Connection, *values: object) -> Row | None:
        """The first row, or None."""
        record = await db.fetchrow(self.sql, *values)
        return None if record is None else self.row(*record)


def inserted_columns(sql: str) -> dict[int, str]:
    """The column that each parameter of an `insert … values` sets, by the parameter's number; {} for others."""
    match = INSERT.search(sql)
    if match is None:
        return {}
    columns, numbers = re.split(r",\s*", match[1].strip()), PARAMETER.findall(match[2])
    return dict(zip(map(int, numbers), columns, strict=True))
