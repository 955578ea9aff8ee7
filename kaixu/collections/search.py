"""Search a collection: by meaning, by meaning and words (hybrid), or by a vector of the client."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from time import perf_counter
from typing import Any

import asyncpg
import msgspec

from kaixu.catalog.catalog import Catalog, Deployment
from kaixu.metering.admission import Admission
from kaixu.metering.embed_ticket import EmbedTicket
from kaixu.metering.embeddings import admit_embed, embed_vectors
from kaixu.metering.gate import Caller, Gate
from kaixu.metering.ticket import Ticket
from kaixu.plugin.errors import ModelMismatch
from kaixu.plugin.types import EmbedRequest
from kaixu.store.collections import Collection, collection_of_key
from kaixu.store.conditions import Condition
from kaixu.store.documents import chunks_of
from kaixu.store.pool import database
from kaixu.store.query import DatabaseSession
from kaixu.store.search import SearchHit, nearest, with_words
from kaixu.store.vectors import packed

from .budget import require_budget
from .chunks import join_chunks
from .ingest import unknown_collection
from .lengths import require_length, shortens_vectors, vector_length
from .searches import Searches

#: Reciprocal rank fusion (Cormack, Clarke, Buettcher 2009): 1 / (60 + rank), summed over the lists.
FUSION = 60

#: The minimum number of candidates per list for the fusion.
CANDIDATES = 50

#: The number of characters of a question that are used for word search; the embedding uses all.
MAX_WORDS = 8_000

#: The maximum number of characters of whole documents in one reply.
MAX_PARENT_TEXT = 8_000_000

#: With `parent`, the number of chunks that are searched per document.
CHUNKS_A_DOCUMENT = 4


class Question(msgspec.Struct, frozen=True):
    """What to search for: `text`, or a `vector` of the collection's model."""

    collection: str
    text: str | None
    vector: tuple[float, ...] | None
    top_k: int
    threshold: float | None
    condition: Condition
    hybrid: bool = False
    parent: bool = False


class Hit(msgspec.Struct, frozen=True):
    """A result. `score`: the cosine; `fused`: the sum of reciprocal ranks in a hybrid search.

    `whole`: the text is the whole document, not a chunk.
    """

    doc_id: str
    chunk: int
    starts_at: int
    text: str
    metadata: dict[str, Any]
    score: float
    fused: float | None = None
    whole: bool = False


class Answer(msgspec.Struct, frozen=True):
    """The results, best first, and the time of the database query."""

    hits: list[Hit]
    query_ms: float


async def find_collection(pool: asyncpg.Pool, caller: Caller, name: str) -> Collection | None:
    """The collection of this name, if the caller's key may use it."""
    with database():
        return await collection_of_key(
            pool,
            key_id=caller.key_id,
            key_hash=caller.key_hash,
            legacy_hash=caller.legacy_hash,
            name=name,
        )


#: A context manager around a billed search: endpoints use it to add the bill to errors.
Around = Callable[[Admission[EmbedTicket]], AbstractContextManager[None]]


def no_context(admission: Admission[EmbedTicket]) -> AbstractContextManager[None]:
    """The default: nothing is added to errors."""
    return nullcontext()


async def search(
    pool: asyncpg.Pool,
    searches: Searches,
    gate: Gate,
    catalog: Catalog,
    caller: Caller,
    question: Question,
    around: Around = no_context,
    user: str | None = None,
) -> tuple[Collection, Ticket, Answer]:
    """Search a collection under one admission, for the end user `user`.

    Embedding the question is billed; a search by vector is free.
    The filter and the number of running searches are checked before the vendor's call.
    Raises what admission raises, `UnknownCollection`, `FilterTooLarge`, `RateLimited`, `SearchTooSlow`.
    """
    collection = await find_collection(pool, caller, question.collection)
    if collection is None:
        async with gate.free(caller, "search") as ticket:  # admission errors come first
            ticket.end_reason = "released"
            raise unknown_collection(question.collection)
    require_budget(question.condition, collection)
    with searches.place(collection.customer_id):
        return await run_search(searches, gate, catalog, caller, question, collection, around, user)


async def run_search(
    searches: Searches,
    gate: Gate,
    catalog: Catalog,
    caller: Caller,
    question: Question,
    collection: Collection,
    around: Around,
    user: str | None,
) -> tuple[Collection, Ticket, Answer]:
    """See `search`."""
    if question.vector is not None:
        # The model may no longer exist.
        deployment = catalog.models.get(collection.provider, {}).get(collection.model)
        admission = gate.free(caller, "search", deployment=deployment, requested_provider=collection.provider)
        async with admission as ticket:
            answer = await find_hits(searches, collection, question, check_length(question.vector, collection))
            ticket.units = {"searches": 1}
        return collection, ticket, answer
    deployment = catalog.resolve(collection.provider, collection.model, "embed").deployment
    require_length(deployment, collection.dimensions, "collection")  # its vectors may have been imported
    request = question_embedding(deployment, collection, question.text or "")
    admission = admit_embed(gate, caller, deployment, collection.provider, request, operation="search", user=user)
    with around(admission):
        async with admission as ticket:
            vectors = await embed_vectors(gate, ticket, request, length=vector_length(deployment, request.dimensions))
            ticket.units = {"searches": 1}
            answer = await find_hits(searches, collection, question, check_length(vectors[0], collection))
    return collection, ticket, answer


def question_embedding(deployment: Deployment, collection: Collection, text: str) -> EmbedRequest:
    """The request that embeds a question with the collection's model."""
    return EmbedRequest(
        model=deployment.upstream,
        inputs=(text,),
        dimensions=collection.dimensions if shortens_vectors(deployment) else None,
        purpose="query",
    )


def check_length(vector: Sequence[float], collection: Collection) -> Sequence[float]:
    """Check that a vector has the collection's length. Raises `ModelMismatch`."""
    if len(vector) != collection.dimensions:
        raise ModelMismatch(
            f"collection `{collection.name}` holds vectors of {collection.dimensions} dimensions, not of {len(vector)}",
            code="DIMENSIONS_MISMATCH",
            field="vector",
        )
    return vector


async def find_hits(searches: Searches, collection: Collection, question: Question, vector: Sequence[float]) -> Answer:
    """The best pieces, or, with `parent`, their documents."""
    async with searches.reading(collection.customer_id) as connection:
        began = perf_counter()
        hits = await rank_hits(connection, collection, question, packed(vector))
        if question.threshold is not None:
            hits = [hit for hit in hits if hit.score >= question.threshold]
        if question.parent:
            hits = await parent_documents(connection, collection, hits, question.top_k)
    return Answer(hits[: question.top_k], round((perf_counter() - began) * 1000, 3))


async def rank_hits(db: DatabaseSession, collection: Collection, question: Question, vector: bytes) -> list[Hit]:
    """Pieces, best first; with `parent` more, since several may belong to one document."""
    limit = question.top_k * (CHUNKS_A_DOCUMENT if question.parent else 1)
    words = (question.text or "")[:MAX_WORDS] if question.hybrid else ""
    if not words:
        hits = await nearest(db, collection, vector, condition=question.condition, limit=limit)
        return [as_hit(one) for one in hits]
    candidates = max(limit, CANDIDATES)
    by_meaning = await nearest(db, collection, vector, condition=question.condition, limit=candidates)
    by_words = await with_words(db, collection, vector, words, condition=question.condition, limit=candidates)
    return fuse_lists(by_meaning, by_words)[:limit]


def fuse_lists(*lists: list[SearchHit]) -> list[Hit]:
    """Merge ranked lists by reciprocal rank fusion; ties by score."""
    sums: dict[tuple[str, int], float] = {}
    pieces: dict[tuple[str, int], SearchHit] = {}
    for one in lists:
        for rank, piece in enumerate(one, start=1):
            at = (piece.doc_id, piece.chunk)
            sums[at] = sums.get(at, 0.0) + 1 / (FUSION + rank)
            pieces.setdefault(at, piece)
    order = sorted(sums, key=lambda at: (-sums[at], -pieces[at].score, at))
    return [as_hit(pieces[at], round(sums[at], 6)) for at in order]


def as_hit(piece: SearchHit, total: float | None = None) -> Hit:
    """A piece as a result."""
    return Hit(piece.doc_id, piece.chunk, piece.starts_at, piece.text, piece.metadata, piece.score, total)


async def parent_documents(db: DatabaseSession, collection: Collection, hits: list[Hit], most: int) -> list[Hit]:
    """The documents of the hits, each at the rank of its best piece."""
    best: dict[str, Hit] = {}
    for hit in hits:
        best.setdefault(hit.doc_id, hit)
    doc_ids = list(best)[:most]
    texts: dict[str, list[tuple[int, str]]] = {doc_id: [] for doc_id in doc_ids}
    for chunk in await chunks_of(db, collection.id, doc_ids):
        texts[chunk.doc_id].append((chunk.starts_at, chunk.text))
    documents, room = [], MAX_PARENT_TEXT
    for doc_id in doc_ids:
        whole = join_chunks(texts[doc_id])
        room -= len(whole)
        # A document that does not fit is represented by its best chunk.
        documents.append(best[doc_id] if room < 0 else msgspec.structs.replace(best[doc_id], text=whole, whole=True))
    return documents
