"""The plans that statements run by, those inside of SQL functions too, as Postgres itself prints them.

`debug_print_plan` is part of every Postgres; auto_explain, which shows the same in fewer words, is not part of the
embedded one.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import asyncpg

INDEX_SCAN = re.compile(r"\{(INDEXSCAN|INDEXONLYSCAN|BITMAPINDEXSCAN) ")
OTHER_SCAN = re.compile(r"\{(SEQSCAN|SAMPLESCAN|TIDSCAN|TIDRANGESCAN) ")
RANGE_TABLE = re.compile(r":rtable \((.*)\) :(?:unprunableRelids|permInfos|resultRelations) ")
#: A column of an index in a condition on it; -3 is Postgres' number for the index itself.
INDEX_COLUMN = re.compile(r"\{VAR :varno -3 :varattno (\d+) ")

INDEXES = """
    select x.indexrelid::bigint as id, t.relname as table_name,
           array(select coalesce(a.attname::text, '(expression)')
                   from unnest(x.indkey) with ordinality k (attnum, at)
                   left join pg_attribute a on a.attrelid = t.oid and a.attnum = k.attnum and k.attnum > 0
                  order by k.at) as columns
      from pg_index x
      join pg_class t on t.oid = x.indrelid
     where t.relnamespace = 'kaixu'::regnamespace
"""

#: The names of tables; a partition has that of the table that it is part of.
TABLES = """
    select t.oid::bigint as id, t.relname as name, coalesce(p.relname, t.relname) as root
      from pg_class t
      left join pg_inherits i on i.inhrelid = t.oid
      left join pg_class p on p.oid = i.inhparent
     where t.relnamespace = 'kaixu'::regnamespace and t.relkind in ('r', 'p')
"""


class Scan(NamedTuple):
    """How rows of a table are found; `columns`: those in the index's condition, none for a scan of the whole table."""

    table: str
    columns: tuple[str, ...]


class Plans:
    """Reads the plans of one connection."""

    def __init__(
        self, connection: asyncpg.Connection, indexes: dict[int, tuple[str, list[str]]], tables: dict[int, str]
    ) -> None:
        self.connection = connection
        self.indexes = indexes
        self.tables = tables
        self.texts: list[str] = []

    def note(self, _: Any, message: Any) -> None:
        """Keep a plan that the server logs."""
        if message.message == "plan:":
            self.texts.append(message.detail)

    def take(self) -> set[Scan]:
        """The scans of our tables in all plans that were made since the last time."""
        texts, self.texts = self.texts, []
        return {scan for text in texts for scan in self.scans(" ".join(text.split()))}

    def scans(self, plan: str) -> list[Scan]:
        """The scans of one plan."""
        found = []
        for node in INDEX_SCAN.finditer(plan):
            index = re.compile(r":indexid (\d+) (?::isshared \w+ )?:indexqual ").search(plan, node.end())
            assert index is not None
            if (known := self.indexes.get(int(index[1]))) is not None:
                table, columns = known
                condition = balanced(plan, index.end())
                numbers = {int(number) for number in INDEX_COLUMN.findall(condition)}
                found.append(Scan(table, tuple(sorted(columns[number - 1] for number in numbers))))
        relations = range_table(plan)
        for node in OTHER_SCAN.finditer(plan):
            scanned = re.compile(r":(?:scan\.)?scanrelid (\d+)").search(plan, node.end())
            assert scanned is not None
            name = self.tables.get(relations[int(scanned[1]) - 1])
            if name is not None:
                found.append(Scan(name, ("ctid",) if node[1].startswith("TID") else ()))
        return found


def balanced(text: str, start: int) -> str:
    """The list that begins at `start`: `<>` or what is within its brackets."""
    if text[start] != "(":
        return ""
    depth = 0
    for at in range(start, len(text)):
        depth += (text[at] == "(") - (text[at] == ")")
        if depth == 0:
            return text[start:at]
    raise ValueError("a list without an end")


def range_table(plan: str) -> list[int]:
    """The table of each entry, 0 where it is something else; the order is that of the plan's numbers."""
    whole = RANGE_TABLE.search(plan)
    if whole is None:  # a plan without tables
        return []
    entries = whole[1].split("{RANGETBLENTRY ")[1:]
    ids = [re.search(r":rtekind 0 :relid (\d+)", entry) for entry in entries]
    return [int(one[1]) if one is not None else 0 for one in ids]


@asynccontextmanager
async def plans_of(connection: asyncpg.Connection) -> AsyncIterator[Plans]:
    """Have the server print the plans that this connection makes from now on."""
    tables = {row["id"]: row["root"] for row in await connection.fetch(TABLES)}
    roots = {row["name"]: row["root"] for row in await connection.fetch(TABLES)}
    indexes = {
        row["id"]: (roots[row["table_name"]], row["columns"])
        for row in await connection.fetch(INDEXES)
        if row["table_name"] in roots
    }
    plans = Plans(connection, indexes, tables)
    connection.add_log_listener(plans.note)
    await connection.execute("set client_min_messages = log; set debug_pretty_print = off; set debug_print_plan = on")
    try:
        yield plans
    finally:
        await connection.execute("set debug_print_plan = off; set client_min_messages = warning")
        connection.remove_log_listener(plans.note)
