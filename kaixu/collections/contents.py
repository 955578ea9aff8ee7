"""What is in collections: lists, figures, documents, pages of them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg

from kaixu.plugin.errors import UnknownCollection
from kaixu.store import collections as store
from kaixu.store import documents, reembedding
from kaixu.store.collections import Collection, Content
from kaixu.store.documents import Document, Piece, WithVector
from kaixu.store.pool import database
from kaixu.store.reembedding import Progress

__all__ = [
    "Collection",
    "Content",
    "Document",
    "Piece",
    "Progress",
    "WithVector",
    "all_pieces",
    "collections_of",
    "content_of",
    "document",
    "pieces",
    "progress_of",
]

#: How many chunks of one document are shown at most.
MOST_CHUNKS = 2048

#: How many pieces are read at a time.
AT_ONCE = 200


async def collections_of(pool: asyncpg.Pool, key_id: int, *, after: str, limit: int) -> list[Collection]:
    """The collections that a key may see, by name, from the one after `after` on."""
    with database():
        return await store.collections_of_key(pool, key_id, after=after, limit=limit)


async def content_of(pool: asyncpg.Pool, collection: Collection) -> Content:
    """How many documents, and how much text."""
    with database():
        return await store.content_of(pool, collection.id)


async def progress_of(pool: asyncpg.Pool, collection: Collection) -> Progress | None:
    """How far it is on its way to another model, or how that ended."""
    with database():
        return await reembedding.progress(pool, collection.customer_id, collection.id)


async def document(pool: asyncpg.Pool, collection: Collection, doc_id: str) -> list[WithVector]:
    """A document's chunks in order; none where there is no such document."""
    with database():
        return await documents.document(pool, collection.id, doc_id, most_chunks=MOST_CHUNKS)


async def pieces(pool: asyncpg.Pool, collection: Collection, *, after: tuple[str, int], limit: int) -> list[Document]:
    """Pieces by id and chunk, from the one after `after` on."""
    with database():
        return await documents.page(pool, collection.id, after=after, limit=limit)


async def all_pieces(pool: asyncpg.Pool, collection: Collection) -> AsyncIterator[list[WithVector]]:
    """All pieces with their vectors, some at a time.

    Raises `UnknownCollection` at the end, where the collection was deleted or replaced meanwhile: then it is not all.
    """
    after = ("", -1)
    while True:
        with database():
            rows = await documents.page_with_vectors(pool, collection.id, after=after, limit=AT_ONCE)
        yield rows
        if len(rows) < AT_ONCE:
            break
        after = (rows[-1].doc_id, rows[-1].chunk)
    with database():
        if not await store.is_alive(pool, collection.id):
            raise UnknownCollection(f"collection `{collection.name}` was deleted or replaced meanwhile")
