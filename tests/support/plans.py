"""The plans that statements run by, those inside of SQL functions too, as Postgres itself prints them.

`debug_print_plan` is part of every Postgres; auto_explain, which shows the same in fewer words, is not part of the
embedded one. EXPLAIN does not look into functions. A plan is printed when it is made: one that is kept for good, once.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg

NODE = re.compile(r"\{(\w*SCAN) ")
#: Scans of what is no table, and the upper half of a scan by bitmap, whose lower half is a node of its own.
OTHERS = {
    "BITMAPHEAPSCAN",
    "SUBQUERYSCAN",
    "FUNCTIONSCAN",
    "TABLEFUNCSCAN",
    "VALUESSCAN",
    "CTESCAN",
    "WORKTABLESCAN",
    "NAMEDTUPLESTORESCAN",
}
INDEX_SCANS = {"INDEXSCAN", "INDEXONLYSCAN", "BITMAPINDEXSCAN"}
TABLE_SCANS = {"SEQSCAN", "SAMPLESCAN", "TIDSCAN", "TIDRANGESCAN"}
INDEX_CONDITION = re.compile(r":indexid (\d+) (?::isshared \w+ )?:indexqual ")
SCANNED = re.compile(r":(?:scan\.)?scanrelid (\d+)")
RANGE_TABLE = re.compile(r":rtable \((.*)\) :(?:unprunableRelids|permInfos|resultRelations) ")
TABLE_OF_ENTRY = re.compile(r":rtekind 0 :relid (\d+)")
#: A column of an index in a condition on it; -3 is Postgres' number for the index itself.
INDEX_COLUMN = re.compile(r"\{VAR :varno -3 :varattno (\d+) ")

INDEXES = """
    select x.indexrelid::bigint as id, coalesce(p.relname, t.relname) as table_name, i.relname as index_name,
           array(select coalesce(a.attname::text, '(expression)')
                   from unnest(x.indkey) with ordinality k (attnum, at)
                   left join pg_attribute a on a.attrelid = t.oid and a.attnum = k.attnum and k.attnum > 0
                  order by k.at) as columns
      from pg_index x
      join pg_class t on t.oid = x.indrelid
      join pg_class i on i.oid = x.indexrelid
      left join pg_inherits h on h.inhrelid = t.oid
      left join pg_class p on p.oid = h.inhparent
     where t.relnamespace = 'kaixu'::regnamespace
"""

#: The names of tables; a partition has that of the table that it is part of.
TABLES = """
    select t.oid::bigint as id, coalesce(p.relname, t.relname) as name
      from pg_class t
      left join pg_inherits h on h.inhrelid = t.oid
      left join pg_class p on p.oid = h.inhparent
     where t.relnamespace = 'kaixu'::regnamespace and t.relkind in ('r', 'p')
"""


@dataclass(frozen=True, order=True)
class Scan:
    """How rows of a table are found. `index`: '' for none; `columns`: those in its condition, none: all of it is read."""

    table: str
    index: str
    columns: tuple[str, ...]


class Plans:
    """Reads the plans of one connection."""

    def __init__(
        self, indexes: dict[int, tuple[str, str, list[str]]], tables: dict[int, str], connection: asyncpg.Connection
    ) -> None:
        self.indexes = indexes
        self.tables = tables
        self.connection = connection
        self.texts: list[str] = []
        self.statements: set[str] = set()

    def note(self, _: Any, message: Any) -> None:
        """Keep a plan that the server prints."""
        if message.message == "plan:":
            self.texts.append(message.detail)

    def note_statement(self, record: Any) -> None:
        """Keep the text of a statement that the connection has sent."""
        self.statements.add(record.query)

    def take(self) -> set[Scan]:
        """The scans of our tables in all plans that were made since the last time."""
        texts, self.texts = self.texts, []
        return {scan for text in texts for scan in self.scans(" ".join(text.split()))}

    def scans(self, plan: str) -> list[Scan]:
        """The scans of one plan. Raises ValueError for one that is not understood: a new kind of scan, another form."""
        found = []
        relations = range_table(plan)
        for node in NODE.finditer(plan):
            if node[1] in INDEX_SCANS:
                index = after(plan, INDEX_CONDITION, node)
                if (known := self.indexes.get(int(index[1]))) is not None:
                    table, name, columns = known
                    numbers = {int(number) for number in INDEX_COLUMN.findall(balanced(plan, index.end()))}
                    found.append(Scan(table, name, tuple(sorted(columns[number - 1] for number in numbers))))
            elif node[1] in TABLE_SCANS:
                scanned = self.tables.get(relations[int(after(plan, SCANNED, node)[1]) - 1])
                if scanned is not None:
                    found.append(Scan(scanned, "", ("ctid",) if node[1].startswith("TID") else ()))
            elif node[1] not in OTHERS:
                raise ValueError(f"not a kind of scan that is known here: {node[1]}")
        return found


def after(plan: str, pattern: re.Pattern[str], node: re.Match[str]) -> re.Match[str]:
    """The first match after the beginning of a node."""
    found = pattern.search(plan, node.end())
    if found is None:
        raise ValueError(f"{node[1]} without {pattern.pattern}")
    return found


def balanced(text: str, start: int) -> str:
    """The list that begins at `start`: `<>` or what is within its brackets."""
    if text.startswith("<>", start):
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
    ids = [TABLE_OF_ENTRY.search(entry) for entry in whole[1].split("{RANGETBLENTRY ")[1:]]
    return [int(one[1]) if one is not None else 0 for one in ids]


@asynccontextmanager
async def plans_of(connection: asyncpg.Connection) -> AsyncIterator[Plans]:
    """Have the server print the plans that this connection makes from now on."""
    tables = {row["id"]: row["name"] for row in await connection.fetch(TABLES)}
    indexes = {
        row["id"]: (row["table_name"], row["index_name"], row["columns"]) for row in await connection.fetch(INDEXES)
    }
    plans = Plans(indexes, tables, connection)
    connection.add_log_listener(plans.note)
    connection.add_query_logger(plans.note_statement)
    await connection.execute("set client_min_messages = log; set debug_pretty_print = off; set debug_print_plan = on")
    try:
        yield plans
    finally:
        await connection.execute("set debug_print_plan = off; set client_min_messages = warning")
        connection.remove_log_listener(plans.note)
        connection.remove_query_logger(plans.note_statement)
