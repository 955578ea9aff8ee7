"""`gateway-embed`: embed texts and, with `collection`, store them there."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from kaixu.accounts.operator_identity import COLLECTIONS
from kaixu.api.call_replies import call_headers
from kaixu.catalog.catalog import RequestedModel
from kaixu.collections.chunks import Chunking, cut_text, parse_chunking
from kaixu.collections.contents import Piece
from kaixu.collections.ingest import CollectionLimits, Ingested, Target, ingest
from kaixu.collections.lengths import shortens_vectors
from kaixu.edge.fields import Fields, read_object
from kaixu.edge.paths import function_paths
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.metering.embeddings import admit_embed, embed_vectors
from kaixu.metering.ticket import Ticket
from kaixu.metering.vector_codec import encode_vector
from kaixu.plugin.errors import Unprocessable
from kaixu.plugin.types import EmbedRequest

from .access import CollectionCaller, read_collection_caller
from .bill import bill_on_failure, usage_and_month_reply
from .fields import (
    MAX_INPUTS,
    collection_name,
    read_doc_ids,
    read_language,
    read_metadata,
    read_texts,
    resolve_embedding_model,
)

MAX_DIMENSIONS = 16_000

#: `taskType` of older clients → `input_type`.
TASKS = {"RETRIEVAL_QUERY": "query", "RETRIEVAL_DOCUMENT": "document"}


class EmbedCall(msgspec.Struct, frozen=True):
    """A parsed embedding call. `pieces` is None if nothing is stored."""

    requested: RequestedModel
    request: EmbedRequest
    collection: str | None
    language: str
    pieces: list[Piece] | None
    doc_ids: list[str]
    as_base64: bool
    with_vectors: bool


def embed_routes(services: Services) -> list[Route]:
    """The route, bound to the services of one gateway."""

    async def embed(request: IncomingRequest) -> Reply:
        body = await read_object(request)
        collection_caller = await read_collection_caller(services, request, body.get("customer_id"))
        call = await parse_embed_call(services, body)
        ticket, vectors, ingested = await run_embed_call(services, collection_caller, call)
        reply: dict[str, Any] = {
            "provider": call.requested.deployment.shown_provider,
            "model": call.requested.deployment.model,
            "requested_provider": body.get("provider"),
            "requested_model": body.get("model"),
            "dimensions": len(vectors[0]),
            "count": len(vectors),
            **usage_and_month_reply(ticket),
            "telemetry": {"install_id": collection_caller.caller.install_id},
        }
        if call.with_vectors:
            reply["embeddings"] = [encode_vector(one) if call.as_base64 else list(one) for one in vectors]
        if ingested is not None:
            reply |= {
                "collection": call.collection,
                "stored": ingested.stored,
                "replaced": ingested.replaced,
                "doc_ids": call.doc_ids,
            }
        return json_reply(reply, 200, call_headers(ticket))

    return [
        Route("POST", function_paths("gateway-embed"), embed, auth="key_or_operator", rate="call", access=COLLECTIONS)
    ]


async def run_embed_call(
    services: Services, collection_caller: CollectionCaller, call: EmbedCall
) -> tuple[Ticket, Sequence[Sequence[float]], Ingested | None]:
    """Run the call; return the vectors, and what was stored."""
    requested, request = call.requested, call.request
    if call.pieces is None or call.collection is None:
        admission = admit_embed(
            services.gate, collection_caller.caller, requested.deployment, requested.provider, request
        )
        with bill_on_failure(admission):
            async with admission as ticket:
                vectors = await embed_vectors(services.gate, ticket, request)
                ticket.units = {"vectors": len(vectors)}
        return ticket, vectors, None
    admission = admit_embed(
        services.gate, collection_caller.caller, requested.deployment, requested.provider, request, role="deployer"
    )
    target = Target(call.collection, requested.deployment.provider, requested.deployment.model, call.language)
    with bill_on_failure(admission):
        return await ingest(
            services.searches,
            services.gate,
            admission,
            request,
            target=target,
            pieces=call.pieces,
            limits=default_limits(services),
        )


def default_limits(services: Services) -> CollectionLimits:
    """The limits for customers without limits of their own."""
    return CollectionLimits(services.gateway.max_vectors, services.gateway.max_collections)


async def parse_embed_call(services: Services, body: dict[str, Any]) -> EmbedCall:
    """Parse the body. Raises `Invalid`, `Unprocessable` naming the field, `UnknownModel`, `LaneOff`."""
    requested = resolve_embedding_model(services.catalog, body)
    fields = Fields(body)
    store = fields.flag("store")
    collection = fields.get("collection")
    is_stored = store if store is not None else collection not in (None, "")
    name = collection_name("default" if collection in (None, "") else collection) if is_stored else None
    texts = read_texts(fields, stored=is_stored)
    doc_ids = read_doc_ids(fields, len(texts))
    metadata = read_metadata(fields, len(texts))
    chunking = parse_chunking(fields.get("chunk"))
    if chunking is not None and not is_stored:
        raise Unprocessable("`chunk` requires a collection", hint="Send `collection`, too.", field="chunk")
    pieces = [Piece(*one) for one in zip(doc_ids, [0] * len(texts), [0] * len(texts), texts, metadata, strict=True)]
    if chunking is not None:
        pieces = await asyncio.to_thread(cut_pieces, pieces, chunking)
        if len(pieces) > MAX_INPUTS:
            raise Unprocessable(
                f"`input` makes {len(pieces)} chunks; at most {MAX_INPUTS} are allowed in one call",
                hint="Send fewer documents at a time, or larger chunks.",
                field="chunk",
            )
    deployment = requested.deployment
    dimensions = fields.integer("dimensions", 1, MAX_DIMENSIONS)
    dimensions = dimensions or fields.integer("outputDimensionality", 1, MAX_DIMENSIONS)
    with_vectors = fields.flag("include_embeddings")
    request = EmbedRequest(
        model=deployment.upstream,
        inputs=tuple(piece.text for piece in pieces),
        dimensions=dimensions or (deployment.dimensions if shortens_vectors(deployment) else None),
        purpose=read_purpose(fields, stored=is_stored),
        truncate=fields.flag("truncate"),
        user=fields.text("user", most=500),
    )
    return EmbedCall(
        requested,
        request,
        name,
        read_language(fields),
        pieces if is_stored else None,
        doc_ids,
        fields.one_of("encoding_format", ("float", "base64")) == "base64",
        with_vectors if with_vectors is not None else not is_stored,
    )


def cut_pieces(pieces: list[Piece], chunking: Chunking) -> list[Piece]:
    """Split every document into numbered chunks."""
    return [
        Piece(piece.doc_id, number, start, text, piece.metadata)
        for piece in pieces
        for number, (start, text) in enumerate(cut_text(piece.text, chunking))
    ]


def read_purpose(fields: Fields, *, stored: bool) -> Literal["document", "query"] | None:
    """Whether the texts are documents or queries, for vendors that distinguish them."""
    input_type = fields.one_of("input_type", ("document", "query"))
    task = fields.text("taskType", most=100)
    if input_type is None and task is not None:
        input_type = TASKS.get(task)
    if input_type == "query":
        return "query"
    return "document" if input_type == "document" or stored else None
