"""Removes the demo data: everything that belongs to its customers, and their part of what is about all customers."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from .demo import Demo
from .demo_figures import FIGURES, lock_rollups
from .query import Connection, Query

#: An aggregate, whose argument has no name.
HISTOGRAM_SUM = "kaixu.latency_total"


class Owned(msgspec.Struct, frozen=True):
    """A table with a column `customer_id`, and the tables that refer to it."""

    name: str
    referred_by: list[str]


OWNED = Query(
    Owned,
    """
    select c.relname::text as name,
           coalesce(array(select distinct r.relname::text
                            from pg_constraint k join pg_class r on r.oid = k.conrelid
                           where k.confrelid = c.oid and k.contype = 'f' and k.conrelid <> c.oid), '{}') as referred_by
      from pg_class c
      join pg_attribute a on a.attrelid = c.oid and a.attname = 'customer_id' and not a.attisdropped
     where c.relnamespace = 'kaixu'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
     order by c.relname
    """,
)


def in_order(tables: Mapping[str, list[str]]) -> list[str]:
    """The tables, each after those that refer to it."""
    left, ordered = dict(tables), []
    while left:
        ready = [name for name, by in left.items() if not any(one in left for one in by)] or list(left)
        ordered += ready
        for name in ready:
            del left[name]
    return ordered


def subtract_sql(table: str, column: str) -> str:
    """Take the demo's part out of the rows about all customers; rows that are then empty are removed."""
    less = ", ".join(f"{name} = q.{name} - d.{name}" for name in FIGURES)
    sums = ", ".join(f"sum(x.{name})::bigint as {name}" for name in FIGURES)
    sums += f", {HISTOGRAM_SUM}(x.latency) as latency"
    return f"""
    with demo as (
        select t.id as series_id, x.{column}, {sums}
          from kaixu.{table} x
          join kaixu.usage_series s on s.id = x.series_id and s.customer_id between $1 and $2
          join kaixu.usage_series t on t.customer_id = 0 and t.chain_id = 0 and t.provider = s.provider
               and t.model = s.model and t.deployment = s.deployment and t.book = s.book
         group by t.id, x.{column}
    )
    update kaixu.{table} q
       set {less},
           latency = array(select coalesce(u.a, 0) - coalesce(u.b, 0)
                             from unnest(q.latency, d.latency) with ordinality u (a, b, at) order by u.at)
      from demo d
     where q.series_id = d.series_id and q.{column} = d.{column}
    """  # noqa: S608 - constants


EMPTY = """
    delete from kaixu.{table} q
     using kaixu.usage_series t
     where t.customer_id = 0 and q.series_id = t.id and q.calls = 0 and q.errors = 0 and q.spent_nusd = 0
       and q.vendor_cost_nusd = 0 and q.input_tokens = 0 and q.output_tokens = 0
"""

ROLLUP_TABLES = (("usage_quarter", "bucket"), ("usage_day", "day"))


async def count_invoices(db: Connection, demo: Demo) -> int:
    """How many invoices of demo customers are issued; they cannot be removed."""
    count: int = await db.fetchval(
        "select count(*) from kaixu.invoice where customer_id between $1 and $2",
        demo.first_customer,
        demo.last_customer,
    )
    return count


async def remove_demo(db: Connection, demo: Demo) -> dict[str, int]:
    """Remove it, and return how many rows of each table. Runs in a transaction: all of it, or nothing."""
    removed: dict[str, int] = {}
    firsts = demo.first_customer, demo.last_customer
    await lock_rollups(db)
    for table, column in ROLLUP_TABLES:
        await db.execute(subtract_sql(table, column), *firsts)
        await db.execute(EMPTY.format(table=table))
        removed[table] = affected(
            await db.execute(
                f"delete from kaixu.{table} q using kaixu.usage_series s"  # noqa: S608 - a constant
                " where s.id = q.series_id and s.customer_id between $1 and $2",
                *firsts,
            )
        )
    # Only these lines of the audit log were not written for a change.
    await db.execute("alter table kaixu.audit_event disable rule audit_event_is_never_deleted")
    removed["audit_event"] = affected(
        await db.execute("delete from kaixu.audit_event where actor = 'demo' and request_id = 'demo'")
    )
    await db.execute("alter table kaixu.audit_event enable rule audit_event_is_never_deleted")
    tables = {row.name: row.referred_by for row in await OWNED.all(db)}
    for table in in_order(tables):
        # Some tables refuse every deletion, also of nothing.
        if not await db.fetchval(
            f"select exists (select from kaixu.{table} where customer_id between $1 and $2)",  # noqa: S608 - of the catalog
            *firsts,
        ):
            continue
        count = affected(
            await db.execute(f"delete from kaixu.{table} where customer_id between $1 and $2", *firsts)  # noqa: S608
        )
        removed[table] = removed.get(table, 0) + count
    removed["customer"] = affected(await db.execute("delete from kaixu.customer where id between $1 and $2", *firsts))
    await db.execute(
        "delete from kaixu.usage_series s where s.customer_id = 0 and starts_with(s.provider, 'demo-')"
        " and not exists (select from kaixu.usage_day d where d.series_id = s.id)"
        " and not exists (select from kaixu.usage_quarter d where d.series_id = s.id)"
    )
    removed["price"] = affected(
        await db.execute(
            "delete from kaixu.price p where p.id = any ($1)"
            " and not exists (select from kaixu.usage_event e where e.price_id = p.id)",
            demo.price_ids,
        )
    )
    await db.execute("delete from kaixu.demo")
    return {name: count for name, count in removed.items() if count}


def affected(status: str) -> int:
    """The number of rows in the status of a statement."""
    return int(status.rpartition(" ")[2])
