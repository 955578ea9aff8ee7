"""Export a collection as NDJSON: a header line, a line per piece, and a last line with the number of pieces."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import msgspec

from kaixu.collections.contents import Collection, WithVector, export_pieces
from kaixu.collections.searches import Searches
from kaixu.edge.response import Reply
from kaixu.edge.sse import EventStream

NDJSON = "application/x-ndjson; charset=utf-8"
ENCODER = msgspec.json.Encoder()


def export_collection(searches: Searches, collection: Collection, headers: dict[str, str]) -> Reply:
    """The reply, which is incomplete without its last line. Raises `RateLimited`."""
    with ExitStack() as stack:
        stack.enter_context(searches.place(collection.customer_id))
        held = stack.pop_all()  # until the last line is sent

    async def write(out: EventStream) -> None:
        with held:
            out.started = True
            await out.put(encode_line(header_line(collection)))
            count = 0
            async for rows in export_pieces(searches, collection):
                for row in rows:
                    await out.put(encode_line(piece_line(row)))
                count += len(rows)
            await out.put(encode_line({"exported": count}))

    async def abandon() -> None:
        held.close()

    body = EventStream(write, abandon, ping=lambda: b"\n")
    name = f"{collection.name}.ndjson"
    own_headers = {
        "content-type": NDJSON,
        "cache-control": "no-store",
        "content-disposition": f'attachment; filename="{name}"',
    }
    return Reply(200, own_headers | headers, body)


def header_line(collection: Collection) -> dict[str, Any]:
    """The header line."""
    return {
        "collection": collection.name,
        "provider": collection.provider,
        "model": collection.model,
        "dimensions": collection.dimensions,
        "language": collection.language,
    }


def piece_line(row: WithVector) -> dict[str, Any]:
    """The line of one piece."""
    return {
        "doc_id": row.doc_id,
        "chunk": row.chunk,
        "starts_at": row.starts_at,
        "text": row.text,
        "metadata": row.metadata,
        "embedding": row.embedding.to_list(),
    }


def encode_line(value: Any) -> bytes:
    """A value as one line of JSON."""
    return ENCODER.encode(value) + b"\n"
