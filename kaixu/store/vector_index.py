"""The indexes that a large collection has of its own: near vectors, metadata, words.

Names and conditions are put together from numbers. `create index concurrently` and its like cannot run in a
transaction; what a crash leaves half built is invalid, found by that, and built anew.
"""

from __future__ import annotations

import asyncpg
import msgspec

from .query import Connection, Query
from .search import EXACT_NUMBERS, MOST_INDEXED, ROW_NUMBERS, indexed_form

#: How carefully a graph is built: 100 instead of pgvector's 64 takes a third longer and finds as much with less search.
EF_CONSTRUCTION = 100

#: In effect no limit: building may take hours.
BUILD_S = 24 * 3600.0

#: How long a collection must have been left alone before its index is built: an index that is there slows ingest down.
QUIET_S = 15

#: From this multiple of the size at which an index pays, the index is built even while documents are stored.
NOT_QUIET_FACTOR = 20


class UnindexedCollection(msgspec.Struct, frozen=True):
    """A collection that needs indexes."""

    id: int
    dimensions: int
    vectors: int


class IndexRow(msgspec.Struct, frozen=True):
    """An index of a collection's own."""

    name: str
    is_valid: bool
    size_bytes: int


CLAIMED = Query(
    UnindexedCollection,
    """
    update kaixu.collection c
       set indexing_until = clock_timestamp() + make_interval(secs => $1::float8)
     where c.id = (select x.id from kaixu.collection x
                    where x.index_state = 'none' and x.deleted_at is null and x.dimensions <= $6::integer
                      and x.vectors * (x.dimensions + $5::integer) >= $2::bigint
                      and (x.updated_at not between clock_timestamp() - make_interval(secs => $3::float8)
                                            and clock_timestamp() + interval '5 seconds'
                           or x.vectors * (x.dimensions + $5::integer) >= $2::bigint * $4::bigint)
                      -- over, or longer than any lease: it was taken before the clock was set back
                      and x.indexing_until not between clock_timestamp()
                                               and clock_timestamp() + make_interval(secs => $1::float8 + 60)
                    order by x.vectors desc
                    limit 1
                      for update skip locked)
    returning c.id, c.dimensions, c.vectors
    """,
)

OF_COLLECTION = Query(
    IndexRow,
    """
    select i.relname as name, x.indisvalid as is_valid, pg_relation_size(i.oid) as size_bytes
      from pg_catalog.pg_index x
      join pg_catalog.pg_class i on i.oid = x.indexrelid
      join pg_catalog.pg_namespace n on n.oid = i.relnamespace
     where n.nspname = 'kaixu' and i.relname = any ($1::text[])
    """,
)


def names_of(collection_id: int) -> tuple[str, str, str]:
    """What a collection's indexes are called."""
    return (
        f"document_{collection_id:d}_near",
        f"document_{collection_id:d}_metadata",
        f"document_{collection_id:d}_words",
    )


async def claim(db: Connection, *, lease_s: float, quiet_s: float = QUIET_S) -> UnindexedCollection | None:
    """Claim a collection whose indexes are not being built yet; None: there is none."""
    return await CLAIMED.one(db, lease_s, EXACT_NUMBERS, quiet_s, NOT_QUIET_FACTOR, ROW_NUMBERS, MOST_INDEXED)


async def renew_lease(db: Connection, collection_id: int, *, lease_s: float) -> None:
    """Renew the lease: the build goes on."""
    await db.execute(
        """
        update kaixu.collection
           set indexing_until = clock_timestamp() + make_interval(secs => $2::float8)
         where id = $1
        """,
        collection_id,
        lease_s,
    )


async def indexes_of(db: Connection, collection_id: int) -> list[IndexRow]:
    """A collection's indexes as they are."""
    return await OF_COLLECTION.all(db, list(names_of(collection_id)))


async def build(connection: asyncpg.Connection, collection: UnindexedCollection) -> bool:
    """Build what is missing; whether all of it is there then. Takes no lock that a search or an ingest waits for."""
    partition = await partition_of(connection, collection.id)
    if partition is None:
        return False
    near, metadata, words = names_of(collection.id)
    vector = indexed_form("embedding", collection.dimensions)
    missing = {
        near: f"hnsw (({vector}) halfvec_cosine_ops) with (ef_construction = {EF_CONSTRUCTION})",
        metadata: "gin (metadata jsonb_path_ops) with (fastupdate = off)",
        words: "gin (words) with (fastupdate = off)",
    }
    for one in await indexes_of(connection, collection.id):
        if one.is_valid:
            del missing[one.name]
        else:
            await connection.execute(f"drop index concurrently if exists kaixu.{one.name}", timeout=BUILD_S)
    for name, how in missing.items():
        made = f"create index concurrently if not exists {name} on {partition} using {how}"
        await connection.execute(f"{made} where collection_id = {collection.id:d}", timeout=BUILD_S)
    built = await indexes_of(connection, collection.id)
    if len(built) < len(names_of(collection.id)) or not all(one.is_valid for one in built):
        return False
    await connection.execute(f"analyze {partition}", timeout=BUILD_S)
    await connection.execute(
        "update kaixu.collection set index_state = 'ready', indexing_until = '-infinity' where id = $1", collection.id
    )
    return True


async def drop(connection: asyncpg.Connection, collection_id: int) -> None:
    """Drop a deleted collection's indexes."""
    for one in await indexes_of(connection, collection_id):
        await connection.execute(f"drop index concurrently if exists kaixu.{one.name}", timeout=BUILD_S)


async def partition_of(db: Connection, collection_id: int) -> str | None:
    """The partition of the documents' table with a collection; None: it is empty."""
    partition: str | None = await db.fetchval(
        "select tableoid::regclass::text from kaixu.document where collection_id = $1 limit 1", collection_id
    )
    return partition
