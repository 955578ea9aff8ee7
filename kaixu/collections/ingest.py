"""Texts into a collection: room held, embedded, stored and billed together or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import msgspec

from kaixu.metering.admission import Admission
from kaixu.metering.embed_ticket import EmbedTicket
from kaixu.metering.embeddings import embed_vectors
from kaixu.metering.gate import Gate
from kaixu.metering.ticket import Ticket
from kaixu.plugin.errors import (
    CollectionBusy,
    CollectionNotAllowed,
    CollectionsFull,
    KaixuError,
    ModelMismatch,
    UnknownCollection,
    VectorsFull,
)
from kaixu.plugin.types import EmbedRequest
from kaixu.store import collections as store
from kaixu.store.collections import Opening
from kaixu.store.documents import Piece, store_documents
from kaixu.store.query import Connection
from kaixu.store.vectors import packed

from .lengths import length_of
from .searches import Searches


class Room(msgspec.Struct, frozen=True):
    """What customers without limits of their own may keep."""

    vectors: int
    collections: int


class Target(msgspec.Struct, frozen=True):
    """The collection that is stored into; `language` is for a new one."""

    name: str
    provider: str
    model: str
    language: str


class Ingested(msgspec.Struct):
    """How many vectors were stored, and how many stood under the same ids before."""

    stored: int = 0
    replaced: int = 0


async def ingest(
    searches: Searches,
    gate: Gate,
    call: Admission[EmbedTicket],
    request: EmbedRequest,
    *,
    target: Target,
    pieces: Sequence[Piece],
    room: Room,
) -> tuple[Ticket, list[Sequence[float]], Ingested]:
    """Embed `request.inputs`, one for each of `pieces`, and store them; all or nothing, under one admission and bill.

    Raises what keeps it from being stored, before anything is spent where that can be known. What changes while the
    vendor works is found out afterwards; then the vectors are paid for all the same (see `kaixu.metering.ending`).
    """
    ingested = Ingested()
    deployment = call.deployment
    assert deployment is not None
    length = length_of(deployment, request.dimensions)
    async with call as ticket:
        opened = await hold_room(searches, ticket, target, pieces, dimensions=length, room=room, make=False)
        vectors: list[Sequence[float]] = list(await embed_vectors(gate, ticket, request, length=length))
        collection_id = opened.collection_id
        if collection_id is None or opened.dimensions != len(vectors[0]):
            opened = await hold_room(searches, ticket, target, pieces, dimensions=len(vectors[0]), room=room, make=True)
            collection_id = opened.collection_id
        assert collection_id is not None
        ticket.units = {"vectors": len(vectors), "stored": len(pieces)}
        ticket.alongside = partial(
            write, ticket, collection_id, pieces, [packed(one) for one in vectors], room, ingested, target.name
        )
    return ticket, vectors, ingested


async def store_ready(
    searches: Searches,
    call: Admission[Ticket],
    *,
    target: Target,
    pieces: Sequence[Piece],
    vectors: Sequence[Sequence[float]],
    room: Room,
) -> tuple[Ticket, Ingested]:
    """Store vectors that were made before; as `ingest`, without a vendor and without a cost."""
    ingested = Ingested()
    async with call as ticket:
        opened = await hold_room(searches, ticket, target, pieces, dimensions=len(vectors[0]), room=room, make=True)
        assert opened.collection_id is not None
        ticket.units = {"stored": len(pieces)}
        ticket.alongside = partial(
            write, ticket, opened.collection_id, pieces, [packed(one) for one in vectors], room, ingested, target.name
        )
    return ticket, ingested


async def hold_room(
    searches: Searches,
    ticket: Ticket,
    target: Target,
    pieces: Sequence[Piece],
    *,
    dimensions: int | None,
    room: Room,
    make: bool,
) -> Opening:
    """Find or make the collection and hold room for what is to be stored. Raises `KaixuError`."""
    verdict = ticket.verdict
    assert verdict.customer_id is not None
    assert verdict.key_id is not None
    async with searches.changing(verdict.customer_id) as connection:
        opened = await store.open_collection(
            connection,
            ticket=ticket.ask.ticket,
            customer_id=verdict.customer_id,
            key_id=verdict.key_id,
            name=target.name,
            provider=target.provider,
            model=target.model,
            dimensions=dimensions,
            language=target.language,
            vectors=len(pieces),
            doc_ids=[piece.doc_id for piece in pieces],
            make=make,
            most_vectors=room.vectors,
            most_collections=room.collections,
        )
    if opened.refused is not None:
        raise refusal(opened.refused, target.name, opened, dimensions, len(pieces), room)
    return opened


async def write(
    ticket: Ticket,
    collection_id: int,
    pieces: Sequence[Piece],
    vectors: Sequence[bytes],
    room: Room,
    ingested: Ingested,
    name: str,
    connection: Connection,
) -> None:
    """Store within the transaction that settles the call. Raises `KaixuError`, and then nothing is written."""
    customer_id = ticket.verdict.customer_id
    assert customer_id is not None
    stored = await store_documents(
        connection,
        collection_id=collection_id,
        customer_id=customer_id,
        ticket=ticket.ask.ticket,
        pieces=pieces,
        vectors=vectors,
        most_vectors=room.vectors,
    )
    if stored.refused is not None:
        raise refusal(stored.refused, name, None, None, len(pieces), room)
    ingested.stored, ingested.replaced = stored.stored or 0, stored.replaced or 0


def refusal(
    code: str, name: str, opened: Opening | None, dimensions: int | None, vectors: int, room: Room
) -> KaixuError:
    """What a client is told."""
    match code:
        case "COLLECTION_NOT_ALLOWED":
            return CollectionNotAllowed(f"this key may not use collection `{name}`", hint="Ask your operator.")
        case "COLLECTION_BUSY":
            return busy(name)
        case "MODEL_MISMATCH" if opened is not None:
            return ModelMismatch(
                f"collection `{name}` holds vectors of {opened.provider}/{opened.model}",
                hint="Use that model, another collection, or re-embed this one.",
                field="model",
            )
        case "DIMENSIONS_MISMATCH" if opened is not None:
            return ModelMismatch(
                f"collection `{name}` holds vectors of {opened.dimensions} dimensions, not of {dimensions}",
                hint="Ask for as many dimensions, or use another collection.",
                code="DIMENSIONS_MISMATCH",
                field="dimensions",
            )
        case "COLLECTIONS_FULL":
            return CollectionsFull(
                f"there are {room.collections} collections, as many as this account may have",
                hint="Delete one, or store into one that is there.",
            )
        case "VECTORS_FULL":
            held = "" if opened is None else f": {opened.used} of {opened.most} are stored or on their way"
            return VectorsFull(
                f"there is no room for {vectors} more vector{'' if vectors == 1 else 's'}{held}",
                hint="Delete documents, or ask your operator for more room.",
            )
        case _:
            return unknown(name)


def unknown(name: str) -> UnknownCollection:
    """The error for a collection that is not there, or not for this key."""
    return UnknownCollection(
        f"there is no collection `{name}`",
        hint="Store something into it first; see GET gateway-embed-collections.",
        field="collection",
    )


def busy(name: str) -> CollectionBusy:
    """The error for a collection that takes nothing just now."""
    return CollectionBusy(
        f"collection `{name}` is on its way to another model",
        hint="Search goes on; store when the re-embedding is done.",
        retry_after_s=30,
    )
