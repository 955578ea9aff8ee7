"""Builds the indexes that partitions of usage events lack, without blocking calls.

`create index concurrently` cannot run in a transaction; an index that a crash leaves half built is marked invalid, and
is built again. Names come from the catalog, never from input.
"""

from __future__ import annotations

import asyncpg
import msgspec

from .query import Connection, Query

#: In effect no limit: building may take long.
BUILD_S = 24 * 3600.0


class MissingIndex(msgspec.Struct, frozen=True):
    """A partition without its part of an index. `is_broken`: an index of that name is there, half built."""

    parent: str
    column: str
    partition: str
    name: str
    is_broken: bool


MISSING = Query(
    MissingIndex,
    """
    select p.relname::text as parent, a.attname::text as column, t.relname::text as partition,
           t.relname || '_' || a.attname || '_idx' as name,
           exists (select
                     from pg_class b
                     join pg_index bi on bi.indexrelid = b.oid
                    where b.relnamespace = p.relnamespace and b.relname = t.relname || '_' || a.attname || '_idx'
                      and not bi.indisvalid) as is_broken
      from pg_index i
      join pg_class p on p.oid = i.indexrelid
      join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
      join pg_inherits h on h.inhparent = i.indrelid
      join pg_class t on t.oid = h.inhrelid
     where i.indrelid = 'kaixu.usage_event'::regclass
       and i.indnatts = 1
       and not i.indisunique
       and not exists (select
                         from pg_inherits x
                         join pg_index xi on xi.indexrelid = x.inhrelid
                        where x.inhparent = i.indexrelid and xi.indrelid = t.oid)
     order by t.relname desc
    """,
)


async def missing_indexes(db: Connection) -> list[MissingIndex]:
    """What is to be built, the newest month first."""
    return await MISSING.all(db)


async def build_index(connection: asyncpg.Connection, missing: MissingIndex) -> None:
    """Build one. Calls go on meanwhile. Raises what Postgres raises; the next time builds it again."""
    if missing.is_broken:
        await connection.execute(f'drop index concurrently if exists kaixu."{missing.name}"', timeout=BUILD_S)
    await connection.execute(
        f'create index concurrently if not exists "{missing.name}" on kaixu."{missing.partition}" ("{missing.column}")',
        timeout=BUILD_S,
    )
    async with connection.transaction():
        await connection.execute("set local lock_timeout = '300ms'")
        await connection.execute(f'alter index kaixu."{missing.parent}" attach partition kaixu."{missing.name}"')
