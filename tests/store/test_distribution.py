"""The schema could be spread over several servers by customer: what schema/distribution.yaml says is true of every table."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import yaml

from kaixu.assets import asset
from tests.conftest import with_database

LISTED: dict[str, Any] = yaml.safe_load((Path(str(asset("schema"))) / "distribution.yaml").read_text())
DISTRIBUTED = set(LISTED["distributed"])
REFERENCE = set(LISTED["reference"])
LOCAL = set(LISTED["local"])

#: Every table that is no partition, and whether it has the column that would spread it.
TABLES = """
    select c.relname as name,
           exists (select from pg_attribute a
                    where a.attrelid = c.oid and not a.attisdropped
                      and a.attname = case when c.relname = 'customer' then 'id' else 'customer_id' end
                      and a.atttypid = 'bigint'::regtype and a.attnotnull) as has_customer
      from pg_class c
     where c.relnamespace = 'kaixu'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
"""

#: Every unique index, those of partitions too, with the columns that it has as such.
UNIQUE = """
    select t.relname as table_name, i.relname as name, coalesce(parent.relname, i.relname) as listed_as,
           coalesce(root.relname, t.relname) as root,
           array(select a.attname::text from unnest(x.indkey) k (attnum)
                   join pg_attribute a on a.attrelid = t.oid and a.attnum = k.attnum) as columns
      from pg_index x
      join pg_class i on i.oid = x.indexrelid
      join pg_class t on t.oid = x.indrelid
      left join pg_inherits n on n.inhrelid = i.oid
      left join pg_class parent on parent.oid = n.inhparent
      left join pg_inherits tn on tn.inhrelid = t.oid
      left join pg_class root on root.oid = tn.inhparent
     where x.indisunique and t.relnamespace = 'kaixu'::regnamespace
"""

FOREIGN = """
    select f.relname as source, t.relname as target, c.confdeltype in ('n', 'd') as sets_columns,
           array(select a.attname::text from unnest(c.conkey) with ordinality k (attnum, at)
                   join pg_attribute a on a.attrelid = f.oid and a.attnum = k.attnum order by k.at) as columns,
           array(select a.attname::text from unnest(c.confkey) with ordinality k (attnum, at)
                   join pg_attribute a on a.attrelid = t.oid and a.attnum = k.attnum order by k.at) as target_columns
      from pg_constraint c
      join pg_class f on f.oid = c.conrelid
      join pg_class t on t.oid = c.confrelid
     where c.contype = 'f' and c.connamespace = 'kaixu'::regnamespace
"""


@pytest.fixture
async def catalog(server_dsn: str, template: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to a migrated database with partitions, which is only read."""
    connection = await asyncpg.connect(with_database(server_dsn, template))
    yield connection
    await connection.close()


def distribution_column(table: str) -> str:
    """The column whose value says where a row lies."""
    return "id" if table == "customer" else "customer_id"


async def test_every_table_is_listed_once(catalog: asyncpg.Connection) -> None:
    tables = {row["name"] for row in await catalog.fetch(TABLES)}
    groups = [DISTRIBUTED, REFERENCE, LOCAL]
    unlisted = sorted(tables - set().union(*groups))
    assert unlisted == [], (
        f"enter {unlisted} into schema/distribution.yaml: distributed by customer_id, reference or local?"
    )
    assert sorted(set().union(*groups) - tables) == [], "no such table"
    assert sum(map(len, groups)) == len(tables), "a table is listed twice"


def test_every_table_that_is_not_spread_has_a_reason() -> None:
    without = [name for name, reason in {**LISTED["reference"], **LISTED["local"]}.items() if len(str(reason)) < 5]
    assert without == []


async def test_every_distributed_table_has_the_customer_in_each_row(catalog: asyncpg.Connection) -> None:
    has_customer = {row["name"]: row["has_customer"] for row in await catalog.fetch(TABLES)}
    assert sorted(name for name in DISTRIBUTED if not has_customer[name]) == []


async def test_unique_indexes_of_distributed_tables_have_the_customer_or_an_answer(catalog: asyncpg.Connection) -> None:
    found = {
        row["listed_as"]
        for row in await catalog.fetch(UNIQUE)
        if row["root"] in DISTRIBUTED and distribution_column(row["root"]) not in row["columns"]
    }
    answers: dict[str, str] = LISTED["unique_without_customer"]
    unanswered = sorted(found - set(answers))
    assert unanswered == [], f"put customer_id into {unanswered}, or give an answer in schema/distribution.yaml"
    assert sorted(set(answers) - found) == [], "the answer is needed no more"
    assert set(answers.values()) <= {"wider", "directory"}


async def test_foreign_keys_stay_with_one_customer_or_have_an_answer(catalog: asyncpg.Connection) -> None:
    """To a reference table any may lead; between distributed tables, only one with customer_id on both sides."""
    dropped = set(LISTED["dropped_foreign_keys"])
    seen = set()
    wrong = []
    for row in await catalog.fetch(FOREIGN):
        source, target = row["source"], row["target"]
        name = f"{source}.{','.join(row['columns'])}"
        pairs = list(zip(row["columns"], row["target_columns"], strict=True))
        if target in DISTRIBUTED and source in DISTRIBUTED:
            if (distribution_column(source), distribution_column(target)) not in pairs:
                wrong.append(name)
            elif row["sets_columns"]:
                seen.add(name)
        elif target in DISTRIBUTED or (source not in LOCAL and target in LOCAL):
            seen.add(name)
    assert wrong == [], "a foreign key between customers' tables needs customer_id on both sides"
    assert sorted(seen ^ dropped) == [], (
        "foreign keys between what is spread and what is not: list them, or remove them"
    )


async def test_partitions_have_the_same_unique_indexes_as_their_table(catalog: asyncpg.Connection) -> None:
    """One that a partition had for itself would be missed above."""
    own = [
        row["name"]
        for row in await catalog.fetch(UNIQUE)
        if row["root"] != row["table_name"] and row["listed_as"] == row["name"]
    ]
    assert own == []
