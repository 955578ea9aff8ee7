"""Read collections: list them, their sizes, documents, and pages of documents."""

from __future__ import annotations

from collections.abc import AsyncIterator

from kaixu.plugin.errors import UnknownCollection
from kaixu.store import collections as store
from kaixu.store import documents, reembedding
from kaixu.store.collections import Collection, CollectionContent
from kaixu.store.documents import Document, Piece, WithVector
from kaixu.store.reembedding import ReembeddingProgress

from .searches import WAIT_LONG_S, Searches

__all__ = [
    "Collection",
    "CollectionContent",
    "Document",
    "Piece",
    "ReembeddingProgress",
    "WithVector",
    "collection_size",
    "document_chunks",
    "export_pieces",
    "list_collections",
    "page_of_pieces",
    "reembedding_progress",
]

#: The maximum number of chunks of one document in a reply.
MAX_CHUNKS = 2048

#: Pieces, and bytes of text and metadata, that an export reads at once.
AT_ONCE = 200
MAX_PAGE_BYTES = 4 * 1024 * 1024


async def list_collections(
    searches: Searches, customer_id: int, key_id: int, *, after: str, limit: int
) -> list[Collection]:
    """The collections that a key may use, by name, starting after `after`."""
    async with searches.reading(customer_id) as connection:
        return await store.collections_of_key(connection, key_id, after=after, limit=limit)


async def collection_size(searches: Searches, collection: Collection) -> CollectionContent:
    """The number of documents, and the size of their texts."""
    async with searches.reading(collection.customer_id) as connection:
        return await store.content_of(connection, collection.id)


async def reembedding_progress(searches: Searches, collection: Collection) -> ReembeddingProgress | None:
    """The progress of the running or last re-embedding, if any."""
    async with searches.reading(collection.customer_id) as connection:
        return await reembedding.progress(connection, collection.customer_id, collection.id)


async def document_chunks(searches: Searches, collection: Collection, doc_id: str) -> list[WithVector]:
    """A document's chunks in order; an empty list if there is no such document."""
    async with searches.reading(collection.customer_id) as connection:
        return await documents.document(connection, collection.id, doc_id, most_chunks=MAX_CHUNKS)


async def page_of_pieces(
    searches: Searches, collection: Collection, *, after: tuple[str, int], limit: int
) -> tuple[list[Document], bool]:
    """At most `limit` pieces by id and chunk, starting after `after`; and whether there are more.

    Fewer if they are long: a page has at most `MAX_PAGE_BYTES` of text and metadata, or one piece.
    """
    async with searches.reading(collection.customer_id) as connection:
        rows = await documents.page(connection, collection.id, after=after, limit=limit + 1, most_bytes=MAX_PAGE_BYTES)
        if len(rows) > limit:
            return rows[:limit], True
        if not rows:
            return [], False
        last = (rows[-1].doc_id, rows[-1].chunk)
        return rows, await documents.is_more(connection, collection.id, after=last)


async def export_pieces(searches: Searches, collection: Collection) -> AsyncIterator[list[WithVector]]:
    """All pieces with their vectors, in pages. No connection is held between pages.

    Raises `UnknownCollection` at the end if the collection was deleted or replaced meanwhile, since pieces are missing.
    """
    after = ("", -1)
    while True:
        async with searches.reading(collection.customer_id, wait_s=WAIT_LONG_S) as connection:
            rows = await documents.page_with_vectors(
                connection, collection.id, after=after, limit=AT_ONCE, most_bytes=MAX_PAGE_BYTES
            )
        if not rows:
            break
        yield rows
        after = (rows[-1].doc_id, rows[-1].chunk)
    async with searches.reading(collection.customer_id, wait_s=WAIT_LONG_S) as connection:
        if not await store.is_alive(connection, collection.id):
            raise UnknownCollection(f"collection `{collection.name}` was deleted or replaced meanwhile")
