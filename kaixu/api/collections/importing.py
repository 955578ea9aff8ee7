"""Documents as NDJSON into a collection: with vectors that were made before, or to be embedded now."""

from __future__ import annotations

from typing import Any

import msgspec

from kaixu.api.calls import call_headers
from kaixu.api.native.chat_request import names_in
from kaixu.catalog.catalog import RequestedModel
from kaixu.collections.contents import Piece
from kaixu.collections.ingest import Target, ingest, store_ready
from kaixu.collections.lengths import insist_on_length, shortens
from kaixu.collections.search import looked_up
from kaixu.edge.fields import Fields
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.services import Services
from kaixu.metering.embeddings import admit_embed
from kaixu.plugin.errors import Invalid, Unprocessable
from kaixu.plugin.types import EmbedRequest

from .access import CollectionCaller
from .bill import money, telling
from .embed import room_of
from .fields import LANGUAGES, MOST_INPUTS, MOST_TEXT, doc_id_of, metadata_of, model_in, text_of, vector_of

DECODER = msgspec.json.Decoder()


class Lines(msgspec.Struct):
    """What was sent: a first line that may say what it is, and the pieces, with vectors or without."""

    head: dict[str, Any]
    pieces: list[Piece]
    vectors: list[tuple[float, ...]]


async def imported(services: Services, visitor: CollectionCaller, asked: IncomingRequest, name: str) -> Reply:
    """Store what was sent, all of it or nothing."""
    lines = read(asked.body)
    known = await looked_up(services.pool, visitor.caller, name)
    args = asked.args
    named = {"provider": args.get("provider"), "model": args.get("model")} if args.get("model") else lines.head
    if known is not None and not args.get("model"):
        named = {"provider": known.provider, "model": known.model}
    language = lines.head.get("language")
    if lines.vectors:
        # No vendor is asked, so the lane need not be on.
        found: RequestedModel = services.catalog.resolve(*names_in(named), "embed")
    else:
        found = model_in(services.catalog, named)
    deployment = found.deployment
    target = Target(name, deployment.provider, deployment.model, language if language in LANGUAGES else "english")
    if lines.vectors:
        insist_on_length(deployment, len(lines.vectors[0]), "embedding")
        call = services.gate.free(
            visitor.caller, "import", role="deployer", deployment=deployment, asked_provider=found.provider
        )
        ticket, ingested = await store_ready(
            services.searches, call, target=target, pieces=lines.pieces, vectors=lines.vectors, room=room_of(services)
        )
    else:
        request = EmbedRequest(
            model=deployment.upstream,
            inputs=tuple(piece.text for piece in lines.pieces),
            dimensions=(known.dimensions if known is not None else deployment.dimensions)
            if shortens(deployment)
            else None,
            purpose="document",
        )
        call = admit_embed(services.gate, visitor.caller, deployment, found.provider, request, role="deployer")
        with telling(call):
            ticket, _, ingested = await ingest(
                services.searches,
                services.gate,
                call,
                request,
                target=target,
                pieces=lines.pieces,
                room=room_of(services),
            )
    reply = {"ok": True, "collection": name, "stored": ingested.stored, "replaced": ingested.replaced, **money(ticket)}
    return json_reply(reply, 200, call_headers(ticket))


def read(body: bytes) -> Lines:
    """The lines. Raises `Invalid`, `Unprocessable`, naming the line."""
    lines = Lines({}, [], [])
    seen: set[tuple[str, int]] = set()
    for number, raw in enumerate(body.split(b"\n"), start=1):
        if not raw.strip():
            continue
        try:
            value = DECODER.decode(raw)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise Invalid(f"line {number} is not JSON", hint="Send one object a line.", code="BAD_JSON") from None
        if not isinstance(value, dict):
            raise Invalid(f"line {number} is not a JSON object", code="BAD_JSON")
        if "exported" in value and "doc_id" not in value:
            continue
        if "doc_id" not in value and not lines.pieces and "model" in value:
            lines.head = value
            continue
        if len(lines.pieces) == MOST_INPUTS:
            raise Unprocessable(
                f"there are more than {MOST_INPUTS} documents", hint="Import them in several calls.", field="body"
            )
        piece = piece_of(Fields(value, f"line {number}"), number)
        if (piece.doc_id, piece.chunk) in seen:
            raise Unprocessable(
                f"line {number} has document `{piece.doc_id[:80]}` again", code="DUPLICATE_DOC_ID", field="doc_id"
            )
        seen.add((piece.doc_id, piece.chunk))
        lines.pieces.append(piece)
        if "embedding" in value:
            lines.vectors.append(vector_of(value["embedding"], f"line {number}.embedding"))
    if not lines.pieces:
        raise Invalid("there is no document in the body", hint="Send one JSON object a line.")
    if lines.vectors and len(lines.vectors) < len(lines.pieces):
        raise Unprocessable("some documents have an embedding and some have none", hint="Send them in two calls.")
    if len({len(one) for one in lines.vectors}) > 1:
        raise Unprocessable("the embeddings differ in length", field="embedding")
    return lines


def piece_of(fields: Fields, number: int) -> Piece:
    """One line."""
    return Piece(
        doc_id_of(fields.take("doc_id"), f"line {number}.doc_id"),
        fields.whole("chunk", 0, 10**6) or 0,
        fields.whole("starts_at", 0, MOST_TEXT) or 0,
        text_of(fields.take("text"), f"line {number}.text", stored=True),
        metadata_of(fields.take("metadata"), f"line {number}.metadata"),
    )
