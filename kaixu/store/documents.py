"""Documents of a collection: store, read by id or in pages, remove."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from pgvector import Vector

from .query import Connection, Query


class Piece(msgspec.Struct, frozen=True):
    """A document, or a chunk of one, to be stored; `starts_at`: where it begins in the whole text."""

    doc_id: str
    chunk: int
    starts_at: int
    text: str
    metadata: dict[str, Any]


class Document(msgspec.Struct, frozen=True):
    """A stored piece."""

    doc_id: str
    chunk: int
    starts_at: int
    text: str
    metadata: dict[str, Any]
    created_at: datetime
    updated_at: datetime


class WithVector(Document, frozen=True):
    """A stored piece with its vector."""

    embedding: Vector


class Stored(msgspec.Struct, frozen=True):
    """The result of schema/functions/store_documents.sql. `refused` is a code, or None."""

    refused: str | None
    stored: int | None
    replaced: int | None


class More(msgspec.Struct, frozen=True):
    """Whether there are more pieces."""

    is_more: bool


class Chunk(msgspec.Struct, frozen=True):
    """A piece of a whole text."""

    doc_id: str
    starts_at: int
    text: str


class DeletedRows(msgspec.Struct, frozen=True):
    """The result of schema/functions/delete_document.sql. `refused` is a code, or None."""

    refused: str | None
    removed: int


STORED = Query(
    Stored,
    """
    select refused, stored, replaced
      from kaixu.store_documents(
        p_collection_id => $1, p_customer_id => $2, p_ticket => $3, p_doc_id => $4, p_chunk => $5, p_starts_at => $6,
        p_body => $7, p_metadata => $8, p_embedding => $9, p_most_vectors => $10)
    """,
)

ONE = Query(
    WithVector,
    """
    select doc_id, chunk, starts_at, body as text, metadata, created_at, updated_at, embedding
      from kaixu.document
     where collection_id = $1 and doc_id = $2
     order by chunk
     limit $3
    """,
)

# A page ends by size, measured without reading what is stored out of line. The first row always comes.
PAGE = Query(
    Document,
    """
    select d.doc_id, d.chunk, d.starts_at, d.text, d.metadata, d.created_at, d.updated_at
      from (select x.doc_id, x.chunk, x.starts_at, x.body as text, x.metadata, x.created_at, x.updated_at,
                   sum(octet_length(x.body) + pg_column_size(x.metadata)) over (order by x.doc_id, x.chunk)
                       - octet_length(x.body) - pg_column_size(x.metadata) as before
              from (select y.* from kaixu.document y
                     where y.collection_id = $1 and (y.doc_id, y.chunk) > ($2, $3)
                     order by y.doc_id, y.chunk
                     limit $4) x) d
     where d.before < $5
     order by d.doc_id, d.chunk
    """,
)

PAGE_WITH_VECTORS = Query(
    WithVector,
    """
    select d.doc_id, d.chunk, d.starts_at, d.text, d.metadata, d.created_at, d.updated_at, d.embedding
      from (select x.doc_id, x.chunk, x.starts_at, x.body as text, x.metadata, x.created_at, x.updated_at, x.embedding,
                   sum(octet_length(x.body) + pg_column_size(x.metadata)) over (order by x.doc_id, x.chunk)
                       - octet_length(x.body) - pg_column_size(x.metadata) as before
              from (select y.* from kaixu.document y
                     where y.collection_id = $1 and (y.doc_id, y.chunk) > ($2, $3)
                     order by y.doc_id, y.chunk
                     limit $4) x) d
     where d.before < $5
     order by d.doc_id, d.chunk
    """,
)

MORE = Query(
    More,
    """
    select exists (select from kaixu.document d
                    where d.collection_id = $1 and (d.doc_id, d.chunk) > ($2, $3)) as is_more
    """,
)

CHUNKS = Query(
    Chunk,
    """
    select doc_id, starts_at, body as text
      from kaixu.document
     where collection_id = $1 and doc_id = any ($2::text[])
     order by doc_id, chunk
    """,
)

DELETED = Query(
    DeletedRows,
    """
    select refused, removed
      from kaixu.delete_document(p_collection_id => $1, p_customer_id => $2, p_doc_id => $3)
    """,
)


async def store_documents(
    db: Connection,
    *,
    collection_id: int,
    customer_id: int,
    ticket: UUID,
    pieces: Sequence[Piece],
    vectors: Sequence[bytes],
    most_vectors: int,
) -> Stored:
    """Store pieces with their packed vectors in the caller's transaction; documents with their ids are replaced."""
    stored = await STORED.one(
        db,
        collection_id,
        customer_id,
        ticket,
        [piece.doc_id for piece in pieces],
        [piece.chunk for piece in pieces],
        [piece.starts_at for piece in pieces],
        [piece.text for piece in pieces],
        [piece.metadata for piece in pieces],
        vectors,
        most_vectors,
    )
    assert stored is not None
    return stored


async def document(db: Connection, collection_id: int, doc_id: str, *, most_chunks: int) -> list[WithVector]:
    """A document's chunks, in order; none where there is no such document."""
    return await ONE.all(db, collection_id, doc_id, most_chunks)


async def page(
    db: Connection, collection_id: int, *, after: tuple[str, int], limit: int, most_bytes: int
) -> list[Document]:
    """Stored pieces by id and chunk, from the one after `after` on, until there are `limit` or about `most_bytes`."""
    return await PAGE.all(db, collection_id, *after, limit, most_bytes)


async def page_with_vectors(
    db: Connection, collection_id: int, *, after: tuple[str, int], limit: int, most_bytes: int
) -> list[WithVector]:
    """As `page`, with the vectors."""
    return await PAGE_WITH_VECTORS.all(db, collection_id, *after, limit, most_bytes)


async def is_more(db: Connection, collection_id: int, *, after: tuple[str, int]) -> bool:
    """Whether there are pieces after this one."""
    row = await MORE.one(db, collection_id, *after)
    return row is not None and row.is_more


async def chunks_of(db: Connection, collection_id: int, doc_ids: Sequence[str]) -> list[Chunk]:
    """All chunks of some documents."""
    return await CHUNKS.all(db, collection_id, doc_ids)


async def delete_document(db: Connection, collection_id: int, customer_id: int, doc_id: str) -> DeletedRows:
    """Remove a document, all its chunks."""
    done = await DELETED.one(db, collection_id, customer_id, doc_id)
    assert done is not None
    return done
