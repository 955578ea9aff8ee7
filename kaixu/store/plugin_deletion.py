"""The rows of a deleted customer in the tables of an integration, removed as the integration's own role."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any

import asyncpg

from .plugin_login import STATEMENT_S
from .plugin_pool import PluginPool
from .plugin_schema import schema_of
from .pool import database

log = logging.getLogger(__name__)

#: Rows of one statement.
AT_ONCE = 2000

#: Tables with a column that names a customer by its id.
TABLES = """
    select quote_ident(c.relname) as name, c.relname as plain
      from pg_catalog.pg_class c
      join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attname = 'customer_id' and not a.attisdropped
     where c.relnamespace = to_regnamespace($1) and c.relkind in ('r', 'p') and not c.relispartition
       and a.atttypid in ('int8'::regtype, 'int4'::regtype)
     order by c.relname
"""


async def remove_rows(plugin: PluginPool, integration: str, customer_id: int, keeps: Collection[str]) -> int:
    """Remove a customer's rows from every table but those that the integration keeps; how many. May be repeated.

    Tables that others refer to come after these. What a foreign key still refers to stays, with a line in the log.
    Raises `DatabaseAway`, `DatabaseBusy`.
    """
    schema = schema_of(integration)
    removed = 0
    with database():
        async with plugin.connection() as connection:
            rows = await connection.fetch(TABLES, schema, timeout=STATEMENT_S)
        waiting = [row["name"] for row in rows if row["plain"] not in keeps]
        while waiting:
            refused = []
            for table in waiting:
                try:
                    removed += await remove_from(plugin, f"{schema}.{table}", customer_id)
                except asyncpg.ForeignKeyViolationError:
                    refused.append(table)
            if len(refused) == len(waiting):
                log.error(
                    "rows of customer %d stay in %s of integration %s: others refer to them",
                    customer_id,
                    ", ".join(refused),
                    integration,
                )
                break
            waiting = refused
    return removed


async def remove_from(plugin: PluginPool, table: str, customer_id: int) -> int:
    """Remove a customer's rows from one table, some in each transaction."""
    removed = 0
    while True:
        async with plugin.connection() as connection:
            tag: Any = await connection.execute(
                f"delete from {table} t where t.customer_id = $1 and t.ctid = any (array("  # noqa: S608 - quoted
                f"select s.ctid from {table} s where s.customer_id = $1 limit {AT_ONCE}))",
                customer_id,
                timeout=STATEMENT_S,
            )
            await connection.execute("commit", timeout=STATEMENT_S)
        count = int(tag.rpartition(" ")[2])
        removed += count
        if count < AT_ONCE:
            return removed
