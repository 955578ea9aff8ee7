"""`gateway-embed`: texts to vectors, and, on request, into a collection."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from kaixu.api.calls import call_headers
from kaixu.api.openai.embeddings import packed
from kaixu.catalog.catalog import RequestedModel
from kaixu.collections.chunks import Chunking, chunking_of, chunks
from kaixu.collections.contents import Piece
from kaixu.collections.ingest import Ingested, Room, Target, ingest
from kaixu.edge.exchange import Door
from kaixu.edge.fields import Fields, object_in
from kaixu.edge.function_paths import paths_of
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.services import Services
from kaixu.metering.embeddings import admit_embed, embed_vectors
from kaixu.metering.ticket import Ticket
from kaixu.plugin.errors import Unprocessable
from kaixu.plugin.types import EmbedRequest

from .access import CollectionCaller, key_or_operator, visitor_of
from .bill import money, telling
from .fields import MOST_INPUTS, all_metadata, collection_name, doc_ids_of, language_of, model_in, texts_of

MOST_DIMENSIONS = 16_000

#: What older clients say for what a text is.
TASKS = {"RETRIEVAL_QUERY": "query", "RETRIEVAL_DOCUMENT": "document"}


class EmbedCall(msgspec.Struct, frozen=True):
    """An embedding call as it was asked for. `pieces` is None where nothing is stored."""

    found: RequestedModel
    request: EmbedRequest
    collection: str | None
    language: str
    pieces: list[Piece] | None
    doc_ids: list[str]
    as_text: bool
    with_vectors: bool


def embed_door(services: Services) -> Door:
    """The door, bound to one gateway."""

    async def embed(asked: IncomingRequest) -> Reply:
        body = await object_in(asked)
        visitor = await visitor_of(services, asked, body.get("customer_id"))
        wanted = await wanted_of(services, body)
        ticket, vectors, ingested = await made(services, visitor, wanted)
        reply: dict[str, Any] = {
            "provider": wanted.found.deployment.shown_provider,
            "model": wanted.found.deployment.model,
            "requested_provider": body.get("provider"),
            "requested_model": body.get("model"),
            "dimensions": len(vectors[0]),
            "count": len(vectors),
            **money(ticket),
            "telemetry": {"install_id": visitor.caller.install_id},
        }
        if wanted.with_vectors:
            reply["embeddings"] = [packed(one) if wanted.as_text else list(one) for one in vectors]
        if ingested is not None:
            reply |= {
                "collection": wanted.collection,
                "stored": ingested.stored,
                "replaced": ingested.replaced,
                "doc_ids": wanted.doc_ids,
            }
        return json_reply(reply, 200, call_headers(ticket))

    return Door(embed, paths_of("gateway-embed"), credential=key_or_operator(services), rate="call")


async def made(
    services: Services, visitor: CollectionCaller, wanted: EmbedCall
) -> tuple[Ticket, Sequence[Sequence[float]], Ingested | None]:
    """The vectors, stored where that was asked for."""
    found, request = wanted.found, wanted.request
    if wanted.pieces is None or wanted.collection is None:
        call = admit_embed(services.gate, visitor.caller, found.deployment, found.provider, request)
        with telling(call):
            async with call as ticket:
                vectors = await embed_vectors(services.gate, ticket, request)
                ticket.units = {"vectors": len(vectors)}
        return ticket, vectors, None
    call = admit_embed(services.gate, visitor.caller, found.deployment, found.provider, request, role="deployer")
    target = Target(wanted.collection, found.deployment.provider, found.deployment.model, wanted.language)
    with telling(call):
        return await ingest(
            services.searches, services.gate, call, request, target=target, pieces=wanted.pieces, room=room_of(services)
        )


def room_of(services: Services) -> Room:
    """What customers without limits of their own may keep."""
    return Room(services.gateway.max_vectors, services.gateway.max_collections)


async def wanted_of(services: Services, body: dict[str, Any]) -> EmbedCall:
    """The call. Raises `Invalid`, `Unprocessable` naming the field, `UnknownModel`, `LaneOff`."""
    found = model_in(services.catalog, body)
    fields = Fields(body)
    store = fields.flag("store")
    collection = fields.take("collection")
    storing = store if store is not None else collection not in (None, "")
    name = collection_name("default" if collection in (None, "") else collection) if storing else None
    texts = texts_of(fields, stored=storing)
    doc_ids = doc_ids_of(fields, len(texts))
    metadata = all_metadata(fields, len(texts))
    chunking = chunking_of(fields.take("chunk"))
    if chunking is not None and not storing:
        raise Unprocessable("`chunk` is for what is stored", hint="Send `collection`, too.", field="chunk")
    pieces = [Piece(*one) for one in zip(doc_ids, [0] * len(texts), [0] * len(texts), texts, metadata, strict=True)]
    if chunking is not None:
        pieces = await asyncio.to_thread(cut, pieces, chunking)
        if len(pieces) > MOST_INPUTS:
            raise Unprocessable(
                f"`input` makes {len(pieces)} chunks; {MOST_INPUTS} are taken in one call",
                hint="Send fewer documents at a time, or larger chunks.",
                field="chunk",
            )
    lane = found.deployment.lane
    told = lane is not None and lane.shortens and not found.deployment.fixed_dimensions
    dimensions = fields.whole("dimensions", 1, MOST_DIMENSIONS)
    dimensions = dimensions or fields.whole("outputDimensionality", 1, MOST_DIMENSIONS)
    with_vectors = fields.flag("include_embeddings")
    request = EmbedRequest(
        model=found.deployment.upstream,
        inputs=tuple(piece.text for piece in pieces),
        dimensions=dimensions or (found.deployment.dimensions if told else None),
        purpose=purpose_of(fields, storing=storing),
        truncate=fields.flag("truncate"),
        user=fields.text("user", most=500),
    )
    return EmbedCall(
        found,
        request,
        name,
        language_of(fields),
        pieces if storing else None,
        doc_ids,
        fields.one_of("encoding_format", ("float", "base64")) == "base64",
        with_vectors if with_vectors is not None else not storing,
    )


def cut(pieces: list[Piece], chunking: Chunking) -> list[Piece]:
    """Every document's chunks, numbered."""
    return [
        Piece(piece.doc_id, number, start, text, piece.metadata)
        for piece in pieces
        for number, (start, text) in enumerate(chunks(piece.text, chunking))
    ]


def purpose_of(fields: Fields, *, storing: bool) -> Literal["document", "query"] | None:
    """What the texts are, for vendors that make a difference."""
    said = fields.one_of("input_type", ("document", "query"))
    task = fields.text("taskType", most=100)
    if said is None and task is not None:
        said = TASKS.get(task)
    if said == "query":
        return "query"
    return "document" if said == "document" or storing else None
