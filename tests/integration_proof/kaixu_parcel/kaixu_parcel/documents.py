"""Uploads and kept files: customers' documents for a parcel."""

from __future__ import annotations

from typing import Annotated

import msgspec

from kaixu.plugin import Bytes, Call, Free, NotFound, Operation, Query

from .part import Part

KEPT_S = 24 * 3600.0


class Document(msgspec.Struct):
    name: Annotated[str, Query(), msgspec.Meta(pattern="^[a-z]{1,20}$")]
    sha256: Annotated[str | None, Query()] = None


class Name(msgspec.Struct):
    name: str


class Stored(msgspec.Struct):
    name: str
    size: int
    sha256: str


async def store(call: Call[Document]) -> Stored:
    """Keep a document for a day."""
    blob = await call.upload.store(most_bytes=5_000_000, digest=call.body.sha256)
    async with call.db() as db:
        await db.keep(blob, f"documents/{call.body.name}", for_s=KEPT_S)
    return Stored(call.body.name, blob.size, blob.digest)


async def read(call: Call[Name]) -> Bytes:
    """A document of one's own."""
    name = f"documents/{call.body.name}"
    async with call.db() as db:
        found = [one for one in await db.kept(name) if one.name == name]
    if not found:
        raise NotFound("no such document", field="name")
    data = b"".join([piece async for piece in call.chunks(found[0].blob)])
    return Bytes(data, file_name=call.body.name)


PART = Part(
    operations=[
        Operation(
            "parcel.store", store, Document, Free("a part of sending"), method="PUT", path="/documents", upload=True
        ),
        Operation("parcel.read", read, Name, Free("one's own"), method="GET", path="/documents/{name}"),
    ]
)
