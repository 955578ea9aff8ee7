"""The database of another gateway, read-only: a SQLite file, or a throw-away SQLite file that a dump is read into.

Nothing of a dump is ever executed: its rows are parsed as text.
"""

from __future__ import annotations

import re
import sqlite3
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kaixu.plugin.errors import Invalid

from .values import Row

#: Rows that are read, or written, at a time.
BATCH = 5000

#: The largest value that is read from a SQLite file, in bytes.
MOST_VALUE = 64 * 1024 * 1024

#: What counts as empty in a field that is not taken over: no value, or the default of its kind.
EMPTY = "('', '0', '0.0', 'f', 'false', 'null', '{}', '[]', '\"\"')"
PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def quoted(name: str) -> str:
    """A name in SQL, in quotes."""
    return '"' + name.replace('"', '""') + '"'


class Source:
    """Tables of another gateway. `skipped`: tables that were not loaded, with the number of their rows."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self.skipped: dict[str, int] = {}
        db.row_factory = sqlite3.Row

    @property
    def tables(self) -> dict[str, list[str]]:
        """The columns of each table."""
        names = [row[0] for row in self.db.execute("select name from sqlite_master where type = 'table' order by name")]
        return {name: self.columns(name) for name in names if not name.startswith("sqlite_")}

    def columns(self, table: str) -> list[str]:
        """The columns of a table; none if there is no such table."""
        return [row[1] for row in self.db.execute(f"pragma table_info({quoted(table)})")]

    def rows(self, table: str, fields: Sequence[str], order: str | None = None) -> Iterator[Row]:
        """The rows of a table, with None for fields that this version of the other gateway does not have."""
        there = self.columns(table)
        if not there:
            return
        read = [field for field in fields if field in there]
        by = f" order by {quoted(order)}" if order in there else ""
        cursor = self.db.execute(f"select {', '.join(map(quoted, read)) or 'null'} from {quoted(table)}{by}")  # noqa: S608 - names in quotes
        missing = {field: None for field in fields if field not in there}
        while batch := cursor.fetchmany(BATCH):
            for row in batch:
                yield {**missing, **dict(zip(read, row, strict=False))}

    def count(self, table: str) -> int:
        """The number of rows of a table."""
        found: int = self.db.execute(f"select count(*) from {quoted(table)}").fetchone()[0]  # noqa: S608
        return found

    def count_filled(self, table: str, fields: Sequence[str]) -> dict[str, int]:
        """In how many rows each field has a value."""
        sums = ", ".join(
            f"sum({quoted(field)} is not null and lower(cast({quoted(field)} as text)) not in {EMPTY})"
            for field in fields
        )
        if not fields:
            return {}
        row = self.db.execute(f"select {sums} from {quoted(table)}").fetchone()  # noqa: S608 - names in quotes
        return {field: row[at] or 0 for at, field in enumerate(fields)}

    def sums(
        self, table: str, by: Sequence[str], value: str, where: str, since: object
    ) -> dict[tuple[Any, ...], float]:
        """The sum of `value` by the fields `by`, of the rows whose field `where` is at least `since`."""
        if not {*by, value, where} <= {*self.columns(table)}:
            return {}
        names = ", ".join(map(quoted, by))
        found = self.db.execute(
            f"select {names}, sum(cast({quoted(value)} as real)) from {quoted(table)} "  # noqa: S608 - names in quotes
            f"where {'cast(' + quoted(where) + ' as integer)' if isinstance(since, int) else quoted(where)} >= ? "
            f"group by {names}",
            (since,),
        )
        return {tuple(row)[:-1]: row[len(by)] or 0.0 for row in found}


@contextmanager
def sqlite_source(path: Path) -> Iterator[Source]:
    """A SQLite file as it is. Raises `Invalid` where it cannot be read."""
    try:
        db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    except sqlite3.Error:
        raise Invalid(f"{path.name} cannot be opened", hint="Copy it, with its -wal file, and name the copy.") from None
    try:
        db.execute("pragma trusted_schema = off")
        db.execute("pragma query_only = on")
        db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MOST_VALUE)
        db.text_factory = lambda raw: raw.decode("utf-8", "replace")
        yield Source(db)
    except sqlite3.DatabaseError as error:
        raise Invalid(f"{path.name} is damaged, or in use: {error}", hint="Import a copy of it.") from None
    finally:
        db.close()


class Loader:
    """Writes rows of a dump into a throw-away SQLite file; tables that are not `wanted` are only counted."""

    def __init__(self, source: Source, wanted: Collection[str]) -> None:
        self.source = source
        self.wanted = frozenset(wanted)
        self.waiting: dict[str, list[Sequence[str | None]]] = {}
        self.columns: dict[str, list[str]] = {}

    def wants(self, table: str) -> bool:
        """Whether the rows of a table are loaded."""
        return table in self.wanted

    def begin(self, table: str, columns: Sequence[str]) -> None:
        """Make a table, if it is not there yet. Raises `Invalid` where it is there with other columns."""
        if table in self.columns:
            if self.columns[table] != list(columns):
                raise Invalid(f"the dump has the table {table} twice, with different columns")
            return
        if len(columns) > 500 or len({*columns}) != len(columns):
            raise Invalid(f"the columns of the table {table} cannot be read")
        self.columns[table] = list(columns)
        self.source.db.execute(
            f"create table {quoted(table)} ({', '.join(f'{quoted(name)} text' for name in columns)})"
        )

    def add(self, table: str, values: Sequence[str | None]) -> None:
        """Add a row. Raises `Invalid` where it has another number of values than its table."""
        if len(values) != len(self.columns[table]):
            raise Invalid(f"a row of {table} has {len(values)} values for {len(self.columns[table])} columns")
        rows = self.waiting.setdefault(table, [])
        rows.append(values)
        if len(rows) >= BATCH:
            self.flush(table)

    def skip(self, table: str, rows: int = 1) -> None:
        """Count rows of a table that is not wanted."""
        self.source.skipped[table] = self.source.skipped.get(table, 0) + rows

    def flush(self, table: str) -> None:
        """Write the rows that wait."""
        marks = ", ".join("?" * len(self.columns[table]))
        self.source.db.executemany(f"insert into {quoted(table)} values ({marks})", self.waiting.pop(table))  # noqa: S608

    def finish(self) -> None:
        """Write all rows that wait."""
        for table in list(self.waiting):
            self.flush(table)
        self.source.db.commit()


@contextmanager
def loaded_source(wanted: Collection[str]) -> Iterator[tuple[Source, Loader]]:
    """An empty throw-away source, and its loader. The file is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="kaixu-import-") as folder:
        db = sqlite3.connect(Path(folder) / "source.sqlite")
        try:
            db.execute("pragma journal_mode = off")
            db.execute("pragma synchronous = off")
            source = Source(db)
            yield source, Loader(source, wanted)
        finally:
            db.close()


def static_outcomes(
    source: Source, table: str, reasons: Mapping[str, str], known: Collection[str]
) -> Iterator[tuple[str, str, int]]:
    """The fields of a table that are never taken: each with the reason, and in how many rows it has a value.

    Fields that are in neither `reasons` nor `known` are of a version that this gateway does not know.
    """
    fields = [field for field in source.columns(table) if field not in known]
    filled = source.count_filled(table, fields)
    for field in fields:
        yield field, reasons.get(field, "this version of the gateway does not know it"), filled[field]
