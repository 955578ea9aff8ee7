"""Collections and documents as replies show them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kaixu.catalog.catalog import Catalog
from kaixu.collections.chunks import joined
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


def progress_reply(catalog: Catalog, work: ReembeddingProgress) -> dict[str, Any]:
    """How far a collection is on its way to another model."""
    shown: dict[str, Any] = {
        "id": work.id,
        "state": work.state,
        "provider": catalog.shown(work.provider),
        "model": work.model,
        "done": work.done,
        "total": work.total,
        "percent": 100 if work.state == "done" or not work.total else work.done * 100 // work.total,
        "created_at": instant(work.created_at),
        "updated_at": instant(work.updated_at),
    }
    if work.error_code is not None:
        shown |= {"code": work.error_code, "error": work.error_message}
    return shown


def document_reply(chunks: Sequence[WithVector], *, vectors: bool) -> dict[str, Any]:
    """A document, whole, with its chunks."""
    first = chunks[0]
    shown: dict[str, Any] = {
        "id": first.doc_id,
        "doc_id": first.doc_id,
        "text": joined([(one.starts_at, one.text) for one in chunks]),
        "metadata": first.metadata,
        "created_at": instant(first.created_at),
        "updated_at": instant(first.updated_at),
        "chunks": [piece_reply(one) for one in chunks],
    }
    if vectors:
        for piece, one in zip(shown["chunks"], chunks, strict=True):
            piece["embedding"] = one.embedding.to_list()
    return shown


def piece_reply(one: Document) -> dict[str, Any]:
    """A chunk of a document."""
    return {"chunk": one.chunk, "starts_at": one.starts_at, "text": one.text}


def page_reply(rows: Sequence[Document], *, is_more: bool) -> dict[str, Any]:
    """A page of pieces, and what to send for the next one."""
    more = {"after": rows[-1].doc_id, "after_chunk": rows[-1].chunk} if is_more else None
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
        "next": more,
    }
