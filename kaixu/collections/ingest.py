"""Store texts in a collection: reserve space, embed, then store and bill in one transaction."""

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

from .lengths import vector_length
from .searches import Searches


class CollectionLimits(msgspec.Struct, frozen=True):
    """The limits for customers without limits of their own."""

    vectors: int
    collections: int


class Target(msgspec.Struct, frozen=True):
    """The collection to store into; `language` is used if it is new."""

    name: str
    provider: str
    model: str
    language: str


class Ingested(msgspec.Struct):
    """How many vectors were stored, and how many of them replaced others with the same ids."""

    stored: int = 0
    replaced: int = 0


async def ingest(
    searches: Searches,
    gate: Gate,
    admission: Admission[EmbedTicket],
    request: EmbedRequest,
    *,
    target: Target,
    pieces: Sequence[Piece],
    limits: CollectionLimits,
) -> tuple[Ticket, list[Sequence[float]], Ingested]:
    """Embed `request.inputs`, one for each of `pieces`, and store all of them or none, under one admission and bill.

    Refused, if possible, before anything is spent. If the collection changes during the vendor's call, storing fails
    afterwards, and the vectors are billed nevertheless (see `kaixu.metering.ending`).
    """
    ingested = Ingested()
    deployment = admission.deployment
    assert deployment is not None
    length = vector_length(deployment, request.dimensions)
    async with admission as ticket:
        opened = await reserve_space(searches, ticket, target, pieces, dimensions=length, limits=limits, make=False)
        vectors: list[Sequence[float]] = list(await embed_vectors(gate, ticket, request, length=length))
        collection_id = opened.collection_id
        if collection_id is None or opened.dimensions != len(vectors[0]):
            opened = await reserve_space(
                searches, ticket, target, pieces, dimensions=len(vectors[0]), limits=limits, make=True
            )
            collection_id = opened.collection_id
        assert collection_id is not None
        ticket.units = {"vectors": len(vectors), "stored": len(pieces)}
        ticket.alongside = partial(
            write_documents,
            ticket,
            collection_id,
            pieces,
            [packed(one) for one in vectors],
            limits,
            ingested,
            target.name,
        )
    return ticket, vectors, ingested


async def store_vectors(
    searches: Searches,
    admission: Admission[Ticket],
    *,
    target: Target,
    pieces: Sequence[Piece],
    vectors: Sequence[Sequence[float]],
    limits: CollectionLimits,
) -> tuple[Ticket, Ingested]:
    """Store vectors that the client sent; as `ingest`, without a vendor and without cost."""
    ingested = Ingested()
    async with admission as ticket:
        opened = await reserve_space(
            searches, ticket, target, pieces, dimensions=len(vectors[0]), limits=limits, make=True
        )
        assert opened.collection_id is not None
        ticket.units = {"stored": len(pieces)}
        ticket.alongside = partial(
            write_documents,
            ticket,
            opened.collection_id,
            pieces,
            [packed(one) for one in vectors],
            limits,
            ingested,
            target.name,
        )
    return ticket, ingested


async def reserve_space(
    searches: Searches,
    ticket: Ticket,
    target: Target,
    pieces: Sequence[Piece],
    *,
    dimensions: int | None,
    limits: CollectionLimits,
    make: bool,
) -> Opening:
    """Find or create the collection, and reserve space for the pieces. Raises `KaixuError`."""
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
            most_vectors=limits.vectors,
            most_collections=limits.collections,
        )
    if opened.refused is not None:
        raise refusal(opened.refused, target.name, opened, dimensions, len(pieces), limits)
    return opened


async def write_documents(
    ticket: Ticket,
    collection_id: int,
    pieces: Sequence[Piece],
    vectors: Sequence[bytes],
    limits: CollectionLimits,
    ingested: Ingested,
    name: str,
    connection: Connection,
) -> None:
    """Store within the transaction that settles the call. Raises `KaixuError`; then nothing is stored."""
    customer_id = ticket.verdict.customer_id
    assert customer_id is not None
    stored = await store_documents(
        connection,
        collection_id=collection_id,
        customer_id=customer_id,
        ticket=ticket.ask.ticket,
        pieces=pieces,
        vectors=vectors,
        most_vectors=limits.vectors,
    )
    if stored.refused is not None:
        raise refusal(stored.refused, name, None, None, len(pieces), limits)
    ingested.stored, ingested.replaced = stored.stored or 0, stored.replaced or 0


def refusal(
    code: str, name: str, opened: Opening | None, dimensions: int | None, vectors: int, limits: CollectionLimits
) -> KaixuError:
    """The error for a refusal code of the database."""
    match code:
        case "COLLECTION_NOT_ALLOWED":
            return CollectionNotAllowed(f"this key may not use collection `{name}`", hint="Ask your operator.")
        case "COLLECTION_BUSY":
            return collection_busy(name, hint="Search still works; store again when the re-embedding is done.")
        case "MODEL_MISMATCH" if opened is not None:
            return ModelMismatch(
                f"collection `{name}` holds vectors of {opened.provider}/{opened.model}",
                hint="Use that model, another collection, or re-embed this one.",
                field="model",
            )
        case "DIMENSIONS_MISMATCH" if opened is not None:
            return ModelMismatch(
                f"collection `{name}` holds vectors of {opened.dimensions} dimensions, not of {dimensions}",
                hint="Send `dimensions` with that number, or use another collection.",
                code="DIMENSIONS_MISMATCH",
                field="dimensions",
            )
        case "COLLECTIONS_FULL":
            return CollectionsFull(
                f"this account may have at most {limits.collections} collections",
                hint="Delete one, or store into an existing one.",
            )
        case "VECTORS_FULL":
            used = "" if opened is None else f": {opened.used} of {opened.most} are stored or reserved"
            return VectorsFull(
                f"there is no room for {vectors} more vector{'' if vectors == 1 else 's'}{used}",
                hint="Delete documents, or ask your operator for a higher limit.",
            )
        case _:
            return unknown_collection(name)


def unknown_collection(name: str) -> UnknownCollection:
    """The error for a collection that does not exist, or that this key may not use."""
    return UnknownCollection(
        f"there is no collection `{name}`",
        hint="Store something into it first; see GET gateway-embed-collections.",
        field="collection",
    )


def collection_busy(name: str, *, hint: str) -> CollectionBusy:
    """The error for changing a collection that is being re-embedded."""
    return CollectionBusy(
        f"collection `{name}` is being re-embedded with another model",
        hint=hint,
        retry_after_s=30,
    )
