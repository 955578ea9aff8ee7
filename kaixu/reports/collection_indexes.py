"""Collections: their number, how they are searched, and the indexes of large ones."""

from __future__ import annotations

import msgspec

from kaixu.store.query import Connection, Query
from kaixu.store.search import EXACT_NUMBERS, MOST_INDEXED, ROW_NUMBERS
from kaixu.store.vector_index import IndexRow, indexes_of

#: Vectors with more dimensions are searched exactly.
MAX_DIMENSIONS = MOST_INDEXED

#: How many large collections are shown.
MAX_SHOWN = 50


class LargeRow(msgspec.Struct, frozen=True):
    """A collection that is, or should be, searched by an index."""

    id: int
    customer_id: int
    name: str
    dimensions: int
    vectors: int
    index_state: str


class LargeCollection(LargeRow, frozen=True):
    """A large collection with its indexes."""

    indexes: list[IndexRow]

    @property
    def is_indexable(self) -> bool:
        """Whether an index supports its number of dimensions."""
        return self.dimensions <= MAX_DIMENSIONS


class Overview(msgspec.Struct, frozen=True):
    """The number of collections; `waiting`: those that wait for an index."""

    collections: int
    vectors: int
    indexed: int
    waiting: int
    deleted: int


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


async def overview(db: Connection) -> Overview:
    """All collections."""
    row = await OVERVIEW.one(db, EXACT_NUMBERS, ROW_NUMBERS, MOST_INDEXED)
    assert row is not None
    return row


async def large_collections(db: Connection) -> list[LargeCollection]:
    """The largest collections, each with its indexes."""
    rows = await LARGE.all(db, EXACT_NUMBERS, ROW_NUMBERS, MAX_SHOWN)
    return [LargeCollection(**msgspec.structs.asdict(row), indexes=await indexes_of(db, row.id)) for row in rows]
