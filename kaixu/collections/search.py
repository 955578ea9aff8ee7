"""Questions to a collection: by meaning, by words and meaning together, by a vector of one's own."""

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

from .budget import insist_on_budget
from .chunks import joined
from .ingest import unknown
from .lengths import insist_on_length, length_of, shortens
from .searches import Searches

#: Reciprocal rank fusion (Cormack, Clarke, Buettcher 2009): 1 / (60 + rank), summed over the lists.
FUSION = 60

#: How many candidates each list brings to the fusion, at least.
CANDIDATES = 50

#: So many characters of a question are looked for word by word; all of it, by its meaning.
MOST_WORDS = 8_000

#: So many characters of whole documents are shown in one reply.
MOST_PARENT_TEXT = 8_000_000

#: How many chunks are looked at for each document, where documents are asked for.
CHUNKS_A_DOCUMENT = 4


class Question(msgspec.Struct, frozen=True):
    """What is looked for: `text`, or a `vector` of the collection's own model."""

    collection: str
    text: str | None
    vector: tuple[float, ...] | None
    top_k: int
    threshold: float | None
    condition: Condition
    hybrid: bool = False
    parent: bool = False


class Hit(msgspec.Struct, frozen=True):
    """A result. `score` is the cosine; `fused` the sum of the reciprocal ranks, where two lists were joined.

    `whole`: the text is that of the whole document, not of the chunk.
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
    """The results, best first, and how long the database took for them."""

    hits: list[Hit]
    query_ms: float


async def looked_up(pool: asyncpg.Pool, caller: Caller, name: str) -> Collection | None:
    """The collection of this name that the caller's key may use."""
    with database():
        return await collection_of_key(
            pool,
            key_id=caller.key_id,
            key_hash=caller.key_hash,
            legacy_hash=caller.legacy_hash,
            name=name,
        )


#: Around a search that is paid for: a door tells there what is owed where it fails.
Around = Callable[[Admission[EmbedTicket]], AbstractContextManager[None]]


def no_telling(call: Admission[EmbedTicket]) -> AbstractContextManager[None]:
    """Nothing more is told."""
    return nullcontext()


async def search(
    pool: asyncpg.Pool,
    searches: Searches,
    gate: Gate,
    catalog: Catalog,
    caller: Caller,
    question: Question,
    around: Around = no_telling,
) -> tuple[Collection, Ticket, Answer]:
    """Ask a collection. One admission, one bill: that of embedding the question, nothing for a vector.

    Whether it may run at all (the filter's size, how many run) is decided before a vendor is asked.
    Raises what admission says, `UnknownCollection`, `FilterTooLarge`, `RateLimited`, `SearchTooSlow`.
    """
    collection = await looked_up(pool, caller, question.collection)
    if collection is None:
        async with gate.free(caller, "search") as ticket:  # whoever may not ask at all hears that first
            ticket.end_reason = "released"
            raise unknown(question.collection)
    insist_on_budget(question.condition, collection)
    with searches.place(collection.customer_id):
        return await placed(searches, gate, catalog, caller, question, collection, around)


async def placed(
    searches: Searches,
    gate: Gate,
    catalog: Catalog,
    caller: Caller,
    question: Question,
    collection: Collection,
    around: Around,
) -> tuple[Collection, Ticket, Answer]:
    """See `search`."""
    if question.vector is not None:
        # Its model need not be there any more.
        known = catalog.models.get(collection.provider, {}).get(collection.model)
        call = gate.free(caller, "search", deployment=known, asked_provider=collection.provider)
        async with call as ticket:
            answer = await answered(searches, collection, question, checked(question.vector, collection))
            ticket.units = {"searches": 1}
        return collection, ticket, answer
    deployment = catalog.resolve(collection.provider, collection.model, "embed").deployment
    insist_on_length(deployment, collection.dimensions, "collection")  # it may have been filled with any vectors
    request = embedding(deployment, collection, question.text or "")
    paid_call = asking(gate, caller, deployment, collection, request)
    with around(paid_call):
        async with paid_call as ticket:
            vectors = await embed_vectors(gate, ticket, request, length=length_of(deployment, request.dimensions))
            ticket.units = {"searches": 1}
            answer = await answered(searches, collection, question, checked(vectors[0], collection))
    return collection, ticket, answer


def asking(
    gate: Gate, caller: Caller, deployment: Deployment, collection: Collection, request: EmbedRequest
) -> Admission[EmbedTicket]:
    """Admission of a question."""
    return admit_embed(gate, caller, deployment, collection.provider, request, operation="search")


def embedding(deployment: Deployment, collection: Collection, text: str) -> EmbedRequest:
    """The question as its collection's own model is asked for it."""
    return EmbedRequest(
        model=deployment.upstream,
        inputs=(text,),
        dimensions=collection.dimensions if shortens(deployment) else None,
        purpose="query",
    )


def checked(vector: Sequence[float], collection: Collection) -> Sequence[float]:
    """A vector as long as the collection's. Raises `ModelMismatch`."""
    if len(vector) != collection.dimensions:
        raise ModelMismatch(
            f"collection `{collection.name}` holds vectors of {collection.dimensions} dimensions, not of {len(vector)}",
            code="DIMENSIONS_MISMATCH",
            field="vector",
        )
    return vector


async def answered(searches: Searches, collection: Collection, question: Question, vector: Sequence[float]) -> Answer:
    """The best pieces, or the documents that they are of."""
    async with searches.reading(collection.customer_id) as connection:
        began = perf_counter()
        hits = await ranked(connection, collection, question, packed(vector))
        if question.threshold is not None:
            hits = [hit for hit in hits if hit.score >= question.threshold]
        if question.parent:
            hits = await parents(connection, collection, hits, question.top_k)
    return Answer(hits[: question.top_k], round((perf_counter() - began) * 1000, 3))


async def ranked(db: DatabaseSession, collection: Collection, question: Question, vector: bytes) -> list[Hit]:
    """Pieces, best first; more than asked for where some may be of one document."""
    wanted = question.top_k * (CHUNKS_A_DOCUMENT if question.parent else 1)
    words = (question.text or "")[:MOST_WORDS] if question.hybrid else ""
    if not words:
        near = await nearest(db, collection, vector, condition=question.condition, limit=wanted)
        return [hit_of(one) for one in near]
    limit = max(wanted, CANDIDATES)
    near = await nearest(db, collection, vector, condition=question.condition, limit=limit)
    spoken = await with_words(db, collection, vector, words, condition=question.condition, limit=limit)
    return fused(near, spoken)[:wanted]


def fused(*lists: list[SearchHit]) -> list[Hit]:
    """Several ranked lists as one, by reciprocal rank fusion; equal ones by their nearness."""
    sums: dict[tuple[str, int], float] = {}
    pieces: dict[tuple[str, int], SearchHit] = {}
    for one in lists:
        for rank, piece in enumerate(one, start=1):
            at = (piece.doc_id, piece.chunk)
            sums[at] = sums.get(at, 0.0) + 1 / (FUSION + rank)
            pieces.setdefault(at, piece)
    order = sorted(sums, key=lambda at: (-sums[at], -pieces[at].score, at))
    return [hit_of(pieces[at], round(sums[at], 6)) for at in order]


def hit_of(piece: SearchHit, total: float | None = None) -> Hit:
    """A piece as a result."""
    return Hit(piece.doc_id, piece.chunk, piece.starts_at, piece.text, piece.metadata, piece.score, total)


async def parents(db: DatabaseSession, collection: Collection, hits: list[Hit], most: int) -> list[Hit]:
    """The whole documents that pieces are of, each once, at the place of its best piece."""
    best: dict[str, Hit] = {}
    for hit in hits:
        best.setdefault(hit.doc_id, hit)
    wanted = list(best)[:most]
    texts: dict[str, list[tuple[int, str]]] = {doc_id: [] for doc_id in wanted}
    for chunk in await chunks_of(db, collection.id, wanted):
        texts[chunk.doc_id].append((chunk.starts_at, chunk.text))
    found, room = [], MOST_PARENT_TEXT
    for doc_id in wanted:
        whole = joined(texts[doc_id])
        room -= len(whole)
        # What does not fit into a reply any more is shown by its best chunk.
        found.append(best[doc_id] if room < 0 else msgspec.structs.replace(best[doc_id], text=whole, whole=True))
    return found
