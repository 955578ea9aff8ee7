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

#: How many collections an operator is shown.
MOST_SHOWN = 50

#: A build takes as long as it takes.
BUILD_S = 24 * 3600.0

#: How long a collection must have been left alone before its index is built: an index that is there slows ingest down.
QUIET_S = 15

#: So many times the size at which an index pays, it is not waited for quiet any more.
IMPATIENT = 20


class Wanting(msgspec.Struct, frozen=True):
    """A collection that needs indexes."""

    id: int
    dimensions: int
    vectors: int


class IndexRow(msgspec.Struct, frozen=True):
    """An index of a collection's own."""

    name: str
    is_valid: bool
    size_bytes: int


class LargeRow(msgspec.Struct, frozen=True):
    """A collection that is, or should be, searched by an index."""

    id: int
    customer_id: int
    name: str
    dimensions: int
    vectors: int
    index_state: str


class Large(LargeRow, frozen=True):
    """The same, with its indexes."""

    indexes: list[IndexRow]


class Overview(msgspec.Struct, frozen=True):
    """How the collections are searched."""

    collections: int
    vectors: int
    indexed: int
    waiting: int
    deleted: int


CLAIMED = Query(
    Wanting,
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

OVERVIEW = Query(
    Overview,
    """
    select count(*) filter (where deleted_at is null) as collections,
           coalesce(sum(vectors) filter (where deleted_at is null), 0)::bigint as vectors,
           count(*) filter (where deleted_at is null and index_state = 'ready') as indexed,
           count(*) filter (where deleted_at is null and index_state = 'none' and dimensions <= $3::integer
                              and vectors * (dimensions + $2::integer) >= $1::bigint) as waiting,
           count(*) filter (where deleted_at is not null) as deleted
      from kaixu.collection
    """,
)


LARGE = Query(
    LargeRow,
    """
    select id, customer_id, name, dimensions, vectors, index_state
      from kaixu.collection
     where deleted_at is null and (index_state = 'ready' or vectors * (dimensions + $2::integer) >= $1::bigint)
     order by vectors desc, id
     limit $3
    """,
)


def names_of(collection_id: int) -> tuple[str, str, str]:
    """What a collection's indexes are called."""
    return (
        f"document_{collection_id:d}_near",
        f"document_{collection_id:d}_metadata",
        f"document_{collection_id:d}_words",
    )


async def claim(db: Connection, *, lease_s: float, quiet_s: float = QUIET_S) -> Wanting | None:
    """A collection whose indexes nobody builds yet; None: there is none."""
    return await CLAIMED.one(db, lease_s, EXACT_NUMBERS, quiet_s, IMPATIENT, ROW_NUMBERS, MOST_INDEXED)


async def lease_again(db: Connection, collection_id: int, *, lease_s: float) -> None:
    """The build goes on."""
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


async def build(connection: asyncpg.Connection, wanting: Wanting) -> bool:
    """Build what is missing; whether all of it is there then. Takes no lock that a search or an ingest waits for."""
    part = await part_of(connection, wanting.id)
    if part is None:
        return False
    near, metadata, words = names_of(wanting.id)
    vector = indexed_form("embedding", wanting.dimensions)
    wanted = {
        near: f"hnsw (({vector}) halfvec_cosine_ops) with (ef_construction = {EF_CONSTRUCTION})",
        metadata: "gin (metadata jsonb_path_ops) with (fastupdate = off)",
        words: "gin (words) with (fastupdate = off)",
    }
    for one in await indexes_of(connection, wanting.id):
        if one.is_valid:
            del wanted[one.name]
        else:
            await connection.execute(f"drop index concurrently if exists kaixu.{one.name}", timeout=BUILD_S)
    for name, how in wanted.items():
        made = f"create index concurrently if not exists {name} on {part} using {how}"
        await connection.execute(f"{made} where collection_id = {wanting.id:d}", timeout=BUILD_S)
    built = await indexes_of(connection, wanting.id)
    if len(built) < len(names_of(wanting.id)) or not all(one.is_valid for one in built):
        return False
    await connection.execute(f"analyze {part}", timeout=BUILD_S)
    await connection.execute(
        "update kaixu.collection set index_state = 'ready', indexing_until = '-infinity' where id = $1", wanting.id
    )
    return True


async def drop(connection: asyncpg.Connection, collection_id: int) -> None:
    """Drop a deleted collection's indexes."""
    for one in await indexes_of(connection, collection_id):
        await connection.execute(f"drop index concurrently if exists kaixu.{one.name}", timeout=BUILD_S)


async def part_of(db: Connection, collection_id: int) -> str | None:
    """The part of the documents' table that a collection is in; None: it is empty."""
    part: str | None = await db.fetchval(
        "select tableoid::regclass::text from kaixu.document where collection_id = $1 limit 1", collection_id
    )
    return part


async def overview(db: Connection) -> Overview:
    """How the collections are searched."""
    found = await OVERVIEW.one(db, EXACT_NUMBERS, ROW_NUMBERS, MOST_INDEXED)
    assert found is not None
    return found


async def large(db: Connection) -> list[Large]:
    """The largest collections, each with its indexes."""
    rows = await LARGE.all(db, EXACT_NUMBERS, ROW_NUMBERS, MOST_SHOWN)
    return [
        Large(
            one.id,
            one.customer_id,
            one.name,
            one.dimensions,
            one.vectors,
            one.index_state,
            await indexes_of(db, one.id),
        )
        for one in rows
    ]
