"""Reads a plain SQL dump of Postgres (pg_dump) line by line: COPY blocks and INSERT statements, nothing else.

Every other statement is passed over. Nothing is executed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from kaixu.plugin.errors import Invalid

from .source import Loader

#: The longest line, or statement, that is read.
MOST_LINE = 64 * 1024 * 1024

# Nothing of what is matched here is gone back over (`++`, `*+`): a line of 64 MiB takes time and memory as its length.
NAME = r'(?:"(?:[^"]++|"")++"|[A-Za-z_][A-Za-z0-9_$]*+)'
COPY = re.compile(rf"COPY (?:{NAME}\.)?({NAME}) \((.*)\) FROM stdin;\s*")
CREATE = re.compile(rf"CREATE (?:UNLOGGED )?TABLE (?:IF NOT EXISTS )?(?:{NAME}\.)?({NAME}) \(\s*")
COLUMN = re.compile(rf"\s*({NAME}) ")
INSERT = re.compile(
    rf"INSERT INTO (?:{NAME}\.)?({NAME})\s*+(?:\(([^)]*+)\)\s*+)?(?:OVERRIDING SYSTEM VALUE )?VALUES\s*+"
)
CONSTRAINT = re.compile(r"\s*(CONSTRAINT|PRIMARY|UNIQUE|CHECK|FOREIGN|EXCLUDE|LIKE|\))")
ESCAPE = re.compile(r"\\([0-7]{1,3}|x[0-9A-Fa-f]{1,2}|.)", re.DOTALL)
LETTERS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
ENCODING = re.compile(r"SET client_encoding = '([^']*)';")
#: Behind a literal: its type, which is short, and the separator.
BEHIND = r"(?:::[A-Za-z_ \[\]\"().0-9]{1,200})?\s*+([,)])"
LITERAL = re.compile(
    r"\s*+(?:(E?)'([^'\\]*+(?:(?:''|\\.)[^'\\]*+)*+)'|(NULL)|(true|false)|([-+]?[0-9.]++(?:[eE][-+]?[0-9]++)?)"
    rf"|'(NaN|Infinity)'){BEHIND}",
    re.DOTALL | re.IGNORECASE,
)
PLAIN_STRING = re.compile(rf"\s*+'([^']*+(?:''[^']*+)*+)'{BEHIND}", re.DOTALL)

MYSQL = ("-- MySQL dump", "-- MariaDB dump", "/*!40101", "/*M!999999")


class Dump:
    """One dump, read once from its beginning to its end."""

    def __init__(self, file: IO[bytes], loader: Loader) -> None:
        self.file = file
        self.loader = loader
        self.line = 0
        self.created: dict[str, list[str]] = {}  # columns by table, from CREATE TABLE

    def read(self) -> None:
        """Load every wanted table. Raises `Invalid`, naming the line."""
        while (line := self.next_line()) is not None:
            if self.line <= 20 and line.startswith(MYSQL):
                raise mysql_refused()
            if line.startswith("COPY ") and (match := COPY.fullmatch(line.rstrip("\r\n"))):
                self.copy(unquoted(match[1]), [unquoted(one) for one in re.findall(NAME, match[2])])
            elif line.startswith("INSERT INTO "):
                self.insert(line)
            elif match := CREATE.match(line):
                self.create(unquoted(match[1]))
            elif (match := ENCODING.match(line)) and match[1].upper() not in ("UTF8", "UNICODE", "SQL_ASCII"):
                raise self.wrong("the dump is not in UTF-8; make one with `pg_dump --encoding=UTF8`")
        self.loader.finish()

    def next_line(self) -> str | None:
        """The next line; None at the end."""
        raw = self.file.readline(MOST_LINE + 1)
        if not raw:
            return None
        self.line += 1
        if len(raw) > MOST_LINE:
            raise self.wrong(f"it is longer than {MOST_LINE >> 20} MiB")
        return raw.decode("utf-8", "replace")

    def skip_line(self) -> bool | None:
        """Pass over a line of any length: whether it ends a COPY block; None at the end of the file."""
        raw = self.file.readline(65_536)
        if not raw:
            return None
        self.line += 1
        ends = raw.rstrip(b"\r\n") == b"\\."
        while not raw.endswith(b"\n") and raw:
            raw = self.file.readline(65_536)
        return ends

    def copy(self, table: str, columns: list[str]) -> None:
        """The rows of a COPY block."""
        if not self.loader.wants(table):
            while (ends := self.skip_line()) is False:
                self.loader.skip(table)
            if ends is None:
                raise self.wrong(f"the dump ends within the table {table}")
            return
        self.loader.begin(table, columns)
        while (line := self.next_line()) is not None:
            row = line.rstrip("\n").removesuffix("\r")
            if row == "\\.":
                return
            with self.named():
                self.loader.add(table, copied(row))
        raise self.wrong(f"the dump ends within the table {table}")

    def create(self, table: str) -> None:
        """The columns of a table, for INSERT statements that do not name them."""
        columns: list[str] = []
        while (line := self.next_line()) is not None and not line.startswith(")"):
            if not CONSTRAINT.match(line) and (match := COLUMN.match(line)):
                columns.append(unquoted(match[1]))
        self.created[table] = columns

    def insert(self, line: str) -> None:
        """One INSERT statement, which may have several rows, and line breaks within its texts."""
        match = INSERT.match(line)
        if match is None:
            raise self.wrong("this INSERT cannot be read")
        table = unquoted(match[1])
        wanted = self.loader.wants(table)
        columns = [unquoted(one) for one in re.findall(NAME, match[2])] if match[2] else self.created.get(table)
        if columns is None and wanted:
            raise self.wrong(
                f"the columns of {table} are not known: the dump has no CREATE TABLE for it; "
                "make one with `pg_dump --column-inserts`"
            )
        statement = self.statement(line)
        if not wanted:
            self.loader.skip(table)
            return
        with self.named():
            self.loader.begin(table, columns or [])
            for values in rows_of(statement[match.end() :]):
                self.loader.add(table, values)

    def statement(self, line: str) -> str:
        """The statement that begins with `line`: it ends with a semicolon at the end of a line, outside of a text."""
        first, parts, quotes, length = self.line, [line], line.count("'"), len(line)
        while quotes % 2 or not parts[-1].rstrip().endswith(";"):
            more = self.next_line()
            length += len(more or "")
            if more is None or length > MOST_LINE:
                raise self.wrong(f"the INSERT of line {first} has no end")
            parts.append(more)
            quotes += more.count("'")
        return "".join(parts)

    @contextmanager
    def named(self) -> Iterator[None]:
        """An error within names the current line."""
        try:
            yield
        except Invalid as error:
            raise self.wrong(error.message) from None

    def wrong(self, problem: str) -> Invalid:
        """The error for the current line. Never quotes the line: it may have secrets."""
        return Invalid(f"line {self.line} of the dump: {problem}")


def mysql_refused() -> Invalid:
    """The error for MySQL and MariaDB, which are not read."""
    return Invalid(
        "this is a database of MySQL or MariaDB, which `kaixu import` does not read",
        hint="Copy it into Postgres with pgloader, or into a SQLite file, and import that.",
    )


def unquoted(name: str) -> str:
    """A name of SQL without its quotes."""
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def copied(row: str) -> list[str | None]:
    """The values of a line of COPY in text format (PostgreSQL, "COPY", "Text Format")."""
    return [None if one == "\\N" else ESCAPE.sub(escaped, one) if "\\" in one else one for one in row.split("\t")]


def escaped(match: re.Match[str]) -> str:
    """The character of an escape."""
    code = match[1]
    if code[0] in "01234567":
        return chr(int(code, 8) & 0xFF)
    if code[0] == "x" and len(code) > 1:
        return chr(int(code[1:], 16))
    return LETTERS.get(code, code)


def rows_of(text: str) -> Iterator[list[str | None]]:
    """The rows behind VALUES. Raises `Invalid`."""
    at = 0
    while True:
        at = skip_space(text, at)
        if text[at : at + 1] != "(":
            raise Invalid("this INSERT cannot be read")
        at, values = at + 1, []
        while True:
            value, at, mark = literal(text, at)
            values.append(value)
            if mark == ")":
                break
        yield values
        at = skip_space(text, at)
        if text[at : at + 1] != ",":
            return
        at += 1


def skip_space(text: str, at: int) -> int:
    """The place of the next character that is no space."""
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def literal(text: str, at: int) -> tuple[str | None, int, str]:
    """A literal: its value, the place behind it and its separator, and which one that is. Raises `Invalid`."""
    if (plain := PLAIN_STRING.match(text, at)) is not None:
        return plain[1].replace("''", "'"), plain.end(), plain[2]
    match = LITERAL.match(text, at)
    if match is None:
        raise Invalid("this INSERT has a value that is no literal; make the dump with `pg_dump`")
    if match[2] is not None:
        value: str | None = ESCAPE.sub(escaped, match[2].replace("''", "'"))
    else:
        value = match[4] or match[5] or match[6]
    return value, match.end(), match[7]
