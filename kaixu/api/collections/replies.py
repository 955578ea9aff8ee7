"""Collections and documents as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kaixu.catalog.catalog import Catalog
from kaixu.collections.chunks import join_chunks
from kaixu.collections.contents import Collection, Document, ReembeddingProgress, WithVector
from kaixu.reports.values import instant


def collection_reply(catalog: Catalog, row: Collection) -> dict[str, Any]:
    """A collection."""
    return {
        "name": row.name,
        "vectors": row.vectors,
        "dimensions": row.dimensions,
        "provider": catalog.shown(row.provider),
        "model": row.model,
        "language": row.language,
        "search": "indexed" if row.index_state == "ready" else "exact",
        "created_at": instant(row.created_at),
        "updated_at": instant(row.updated_at),
    }


def progress_reply(catalog: Catalog, progress: ReembeddingProgress) -> dict[str, Any]:
    """The progress of a re-embedding."""
    reply: dict[str, Any] = {
        "id": progress.id,
        "state": progress.state,
        "provider": catalog.shown(progress.provider),
        "model": progress.model,
        "done": progress.done,
        "total": progress.total,
        "percent": 100 if progress.state == "done" or not progress.total else progress.done * 100 // progress.total,
        "created_at": instant(progress.created_at),
        "updated_at": instant(progress.updated_at),
    }
    if progress.error_code is not None:
        reply |= {"code": progress.error_code, "error": progress.error_message}
    return reply


def document_reply(chunks: Sequence[WithVector], *, vectors: bool) -> dict[str, Any]:
    """A whole document with its chunks."""
    first = chunks[0]
    reply: dict[str, Any] = {
        "id": first.doc_id,
        "doc_id": first.doc_id,
        "text": join_chunks([(one.starts_at, one.text) for one in chunks]),
        "metadata": first.metadata,
        "created_at": instant(first.created_at),
        "updated_at": instant(first.updated_at),
        "chunks": [piece_reply(one) for one in chunks],
    }
    if vectors:
        for piece, one in zip(reply["chunks"], chunks, strict=True):
            piece["embedding"] = one.embedding.to_list()
    return reply


def piece_reply(one: Document) -> dict[str, Any]:
    """A chunk of a document."""
    return {"chunk": one.chunk, "starts_at": one.starts_at, "text": one.text}


def page_reply(rows: Sequence[Document], *, is_more: bool) -> dict[str, Any]:
    """A page of pieces, and the arguments for the next page."""
    next_page = {"after": rows[-1].doc_id, "after_chunk": rows[-1].chunk} if is_more else None
    return {
        "documents": [
            piece_reply(one)
            | {
                "id": one.doc_id,
                "doc_id": one.doc_id,
                "metadata": one.metadata,
                "created_at": instant(one.created_at),
                "updated_at": instant(one.updated_at),
            }
            for one in rows
        ],
        "next": next_page,
    }
