"""Import documents as NDJSON into a collection: with vectors, or to be embedded."""

from __future__ import annotations

from typing import Any

import msgspec

from kaixu.api.call_replies import call_headers
from kaixu.api.native.chat_request import read_model_names
from kaixu.catalog.catalog import RequestedModel
from kaixu.collections.contents import Piece
from kaixu.collections.ingest import Ingested, Target, ingest, store_vectors
from kaixu.collections.lengths import require_length, shortens_vectors
from kaixu.collections.search import find_collection
from kaixu.edge.fields import Fields
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.services import Services
from kaixu.metering.embeddings import admit_embed
from kaixu.metering.gate import Caller
from kaixu.metering.ticket import Ticket
from kaixu.plugin.errors import Invalid, Unprocessable
from kaixu.plugin.types import EmbedRequest

from .access import CollectionCaller
from .bill import bill_on_failure, usage_and_month_reply
from .embed import default_limits
from .fields import (
    LANGUAGES,
    MAX_INPUTS,
    MAX_TEXT,
    check_doc_id,
    check_metadata,
    check_text,
    check_vector,
    resolve_embedding_model,
)

DECODER = msgspec.json.Decoder()


class ImportedLines(msgspec.Struct):
    """The lines: a header, which may be missing, and the pieces, all with vectors or all without."""

    header: dict[str, Any]
    pieces: list[Piece]
    vectors: list[tuple[float, ...]]


async def import_documents(
    services: Services, collection_caller: CollectionCaller, request: IncomingRequest, name: str
) -> Reply:
    """Store all pieces, or none."""
    lines = parse_import(request.body)
    collection = await find_collection(services.pool, collection_caller.caller, name)
    args = request.args
    named = {"provider": args.get("provider"), "model": args.get("model")} if args.get("model") else lines.header
    if collection is not None and not args.get("model"):
        named = {"provider": collection.provider, "model": collection.model}
    language = lines.header.get("language")
    if lines.vectors:
        # No vendor is called, so the lane need not be on.
        requested: RequestedModel = services.catalog.resolve(*read_model_names(named), "embed")
    else:
        requested = resolve_embedding_model(services.catalog, named)
    deployment = requested.deployment
    target = Target(name, deployment.provider, deployment.model, language if language in LANGUAGES else "english")
    if lines.vectors:
        ticket, ingested = await import_vectors(services, collection_caller.caller, requested, target, lines)
    else:
        dimensions = collection.dimensions if collection is not None else deployment.dimensions
        ticket, ingested = await import_texts(services, collection_caller.caller, requested, target, lines, dimensions)
    reply = {
        "ok": True,
        "collection": name,
        "stored": ingested.stored,
        "replaced": ingested.replaced,
        **usage_and_month_reply(ticket),
    }
    return json_reply(reply, 200, call_headers(ticket))


async def import_vectors(
    services: Services, caller: Caller, requested: RequestedModel, target: Target, lines: ImportedLines
) -> tuple[Ticket, Ingested]:
    """Store pieces with the vectors that the client sent."""
    deployment = requested.deployment
    require_length(deployment, len(lines.vectors[0]), "embedding")
    admission = services.gate.free(
        caller, "import", role="deployer", deployment=deployment, requested_provider=requested.provider
    )
    return await store_vectors(
        services.searches,
        admission,
        target=target,
        pieces=lines.pieces,
        vectors=lines.vectors,
        limits=default_limits(services),
    )


async def import_texts(
    services: Services,
    caller: Caller,
    requested: RequestedModel,
    target: Target,
    lines: ImportedLines,
    dimensions: int | None,
) -> tuple[Ticket, Ingested]:
    """Embed and store pieces. `dimensions`: of the collection, for models that can shorten vectors."""
    deployment = requested.deployment
    request = EmbedRequest(
        model=deployment.upstream,
        inputs=tuple(piece.text for piece in lines.pieces),
        dimensions=dimensions if shortens_vectors(deployment) else None,
        purpose="document",
    )
    admission = admit_embed(services.gate, caller, deployment, requested.provider, request, role="deployer")
    with bill_on_failure(admission):
        ticket, _, ingested = await ingest(
            services.searches,
            services.gate,
            admission,
            request,
            target=target,
            pieces=lines.pieces,
            limits=default_limits(services),
        )
    return ticket, ingested


def parse_import(body: bytes) -> ImportedLines:
    """Parse the lines. Raises `Invalid`, `Unprocessable`, naming the line."""
    lines = ImportedLines({}, [], [])
    seen: set[tuple[str, int]] = set()
    for number, raw in enumerate(body.split(b"\n"), start=1):
        if not raw.strip():
            continue
        try:
            value = DECODER.decode(raw)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise Invalid(
                f"line {number} is not JSON", hint="Send one JSON object per line.", code="BAD_JSON"
            ) from None
        if not isinstance(value, dict):
            raise Invalid(f"line {number} is not a JSON object", code="BAD_JSON")
        if "exported" in value and "doc_id" not in value:
            continue
        if "doc_id" not in value and not lines.pieces and "model" in value:
            lines.header = value
            continue
        if len(lines.pieces) == MAX_INPUTS:
            raise Unprocessable(
                f"there are more than {MAX_INPUTS} documents", hint="Import them in several calls.", field="body"
            )
        piece = parse_piece(Fields(value, f"line {number}"), number)
        if (piece.doc_id, piece.chunk) in seen:
            raise Unprocessable(
                f"line {number} repeats document `{piece.doc_id[:80]}`", code="DUPLICATE_DOC_ID", field="doc_id"
            )
        seen.add((piece.doc_id, piece.chunk))
        lines.pieces.append(piece)
        if "embedding" in value:
            lines.vectors.append(check_vector(value["embedding"], f"line {number}.embedding"))
    if not lines.pieces:
        raise Invalid("the body has no documents", hint="Send one JSON object per line.")
    if lines.vectors and len(lines.vectors) < len(lines.pieces):
        raise Unprocessable("some documents have an embedding and some do not", hint="Send them in two calls.")
    if len({len(one) for one in lines.vectors}) > 1:
        raise Unprocessable("the embeddings differ in length", field="embedding")
    return lines


def parse_piece(fields: Fields, number: int) -> Piece:
    """The piece of one line."""
    return Piece(
        check_doc_id(fields.get("doc_id"), f"line {number}.doc_id"),
        fields.integer("chunk", 0, 10**6) or 0,
        fields.integer("starts_at", 0, MAX_TEXT) or 0,
        check_text(fields.get("text"), f"line {number}.text", stored=True),
        check_metadata(fields.get("metadata"), f"line {number}.metadata"),
    )
