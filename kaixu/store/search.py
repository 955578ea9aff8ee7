"""Search in one collection: exactly in a small one, by its own index in a large one, by words in both.

Statements here are put together from numbers and from conditions that hold nothing but parameters. The number of a
collection and of its dimensions stand in the text, for the planner must see them to find that collection's index.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from .collections import Collection
from .conditions import ALL, FIRST, Condition
from .pool import SEARCH
from .query import DatabaseSession

#: pgvector indexes no longer vectors than this, as 16-bit floats (its README, "HNSW").
MOST_INDEXED = 4000

#: How much exact search compares in ten milliseconds: a row costs as much as 192 numbers, and its own numbers.
#: Measured: 2.3 µs a row of 256 numbers, 9 µs one of 1,536.
EXACT_NUMBERS = 1_920_000
ROW_NUMBERS = 192

#: With a filter a quarter as many rows are compared exactly: they are scattered, and are counted first.
FEWER = 4

#: How many candidates HNSW keeps, at least. Where a filter drops most of them it goes on, up to a bound.
EF_SEARCH = int(SEARCH["hnsw.ef_search"])
#: One wide search past a filter takes less time than two of the usual width.
EF_FILTERED = 360
MOST_SCANNED = int(SEARCH["hnsw.max_scan_tuples"])

#: How many different words of a question are used, and how many rows are ranked by them.
MOST_WORDS = 32
MOST_RANKED = 20_000

COLUMNS = "d.doc_id, d.chunk, d.starts_at, d.body as text, d.metadata"


class SearchHit(msgspec.Struct, frozen=True):
    """A piece near to the question; `score` is the cosine of the angle between them, 1 for the same direction."""

    doc_id: str
    chunk: int
    starts_at: int
    text: str
    metadata: dict[str, Any]
    score: float


def exact_rows(dimensions: int) -> int:
    """How many vectors are compared one by one within ten milliseconds."""
    return EXACT_NUMBERS // (ROW_NUMBERS + dimensions)


def indexed_form(vector: str, dimensions: int) -> str:
    """A vector as indexes hold it: of unit length, so that 16-bit floats are fine enough, and half as long.

    Against whole vectors that halves what a search takes (1,536 dimensions: 13 ms to 6), for the candidates' exact
    order is made from the whole ones.
    """
    return f"l2_normalize({vector})::halfvec({dimensions:d})"


def exact_sql(collection_id: int, condition: Condition, *, indexed: bool = False) -> str:
    """Exact search: compares every vector that meets the condition; `indexed`: metadata has an index."""
    return f"""
        select {COLUMNS}, (1 - (d.embedding <=> $1))::float8 as score
          from kaixu.document d
         where d.collection_id = {collection_id:d} and {condition.narrowed if indexed else condition.sql}
         order by d.embedding <=> $1, d.doc_id, d.chunk
         limit $2
    """  # noqa: S608 - a number, and a condition without values


def indexed_sql(collection_id: int, dimensions: int, condition: Condition, *, ef_search: int | None = None) -> str:
    """Index search: the index's candidates in their exact order; none where the session has another `ef_search`."""
    # The planner takes every range of metadata for narrow, and would read the whole collection. Within a `case` it
    # expects half of the rows; conditions that are narrow were handled before.
    passed = condition.sql if condition.sql == ALL.sql else f"case when {condition.sql} then true else false end"
    session = "true" if ef_search is None else f"current_setting('hnsw.ef_search', true) = '{ef_search:d}'"
    return f"""
        with near as materialized (
            select {COLUMNS}, d.embedding <=> $1 as distance
              from kaixu.document d
             where d.collection_id = {collection_id:d} and {passed}
             order by {indexed_form("d.embedding", dimensions)} <=> {indexed_form("$1::vector", dimensions)}
             limit $2 * 3
        )
        select n.doc_id, n.chunk, n.starts_at, n.text, n.metadata, (1 - n.distance)::float8 as score
          from near n
         where {session}
         order by n.distance, n.doc_id, n.chunk
         limit $2
    """  # noqa: S608 - numbers, and a condition without values


def matching_sql(collection_id: int, condition: Condition) -> str:
    """How many rows meet a condition, counted up to $1."""
    return f"""
        select count(*)
          from (select from kaixu.document d
                 where d.collection_id = {collection_id:d} and {condition.narrowed} and $2::vector is not null
                 limit $1) x
    """  # noqa: S608 - a number, and a condition without values


def words_sql(collection_id: int, condition: Condition) -> str:
    """The pieces with any of the words, best first: a word counts more, the fewer pieces have it.

    Sparck Jones' inverse document frequency (1972), which Postgres' own ranking does not know.
    """
    at = FIRST + len(condition.values)
    return f"""
        with asked as materialized (
            select l.lexeme, to_tsquery('simple', quote_literal(l.lexeme)) as query
              from unnest(to_tsvector(${at + 1}::text::regconfig, ${at})) l
             limit {MOST_WORDS}
        ), question as materialized (
            select string_agg(a.query::text, ' | ')::tsquery as words from asked a
        ), matching as materialized (
            select {COLUMNS}, d.embedding, d.words
              from kaixu.document d, question q
             where d.collection_id = {collection_id:d} and {condition.sql} and d.words @@ q.words
             limit {MOST_RANKED}
        ), held as materialized (
            select m.doc_id, m.chunk, a.lexeme from matching m join asked a on m.words @@ a.query
        ), weighed as (
            select h.doc_id, h.chunk, sum(r.weight) as weight
              from held h
              join (select x.lexeme, ln(1 + ${at + 2}::float8 / count(*)) as weight from held x group by x.lexeme) r
                on r.lexeme = h.lexeme
             group by h.doc_id, h.chunk
             order by weight desc, h.doc_id, h.chunk
             limit $2
        )
        select m.doc_id, m.chunk, m.starts_at, m.text, m.metadata, (1 - (m.embedding <=> $1))::float8 as score
          from weighed w
          join matching m on m.doc_id = w.doc_id and m.chunk = w.chunk
         order by w.weight desc, score desc, m.doc_id, m.chunk
    """  # noqa: S608 - a number, and a condition without values


async def nearest(
    db: DatabaseSession, collection: Collection, vector: bytes, *, condition: Condition = ALL, limit: int
) -> list[SearchHit]:
    """The pieces nearest to a vector, nearest first."""
    values = (vector, limit, *condition.values)
    if collection.index_state != "ready" or collection.dimensions > MOST_INDEXED:
        return hits_in(await db.fetch(exact_sql(collection.id, condition), *values))
    exact = exact_sql(collection.id, condition, indexed=True)
    if condition.index is not None:
        few = exact_rows(collection.dimensions) // FEWER
        count = await db.fetchval(matching_sql(collection.id, condition), few + 1, vector, *condition.values)
        if count <= few:
            return hits_in(await db.fetch(exact, *values))
    rows: list[SearchHit] = []
    filtered = condition.sql != ALL.sql
    if not filtered and limit * 3 <= EF_SEARCH:
        # Our sessions have this setting, so one round trip is enough; behind a pooler they have not.
        sql = indexed_sql(collection.id, collection.dimensions, condition, ef_search=EF_SEARCH)
        rows = hits_in(await db.fetch(sql, *values))
    if not rows:
        async with db.transaction(readonly=True):
            await db.execute(settings(max(EF_FILTERED if filtered else EF_SEARCH, limit * 3)))
            rows = hits_in(await db.fetch(indexed_sql(collection.id, collection.dimensions, condition), *values))
    if len(rows) < min(limit, collection.vectors):
        # The filter left too few of the index's candidates: all rows are compared.
        return hits_in(await db.fetch(exact, *values))
    return rows


async def with_words(
    db: DatabaseSession,
    collection: Collection,
    vector: bytes,
    words: str,
    *,
    condition: Condition = ALL,
    limit: int,
) -> list[SearchHit]:
    """The pieces that hold the words of a question best, each with its nearness to `vector` as its score."""
    async with db.transaction(readonly=True):
        await db.execute(settings(EF_SEARCH))
        return hits_in(
            await db.fetch(
                words_sql(collection.id, condition),
                vector,
                limit,
                *condition.values,
                words,
                collection.language,
                float(collection.vectors),
            )
        )


def settings(ef_search: int) -> str:
    """The planner's settings for one search, until its transaction ends."""
    return (
        f"set local hnsw.ef_search = {min(ef_search, 1000):d}; set local hnsw.iterative_scan = relaxed_order; "
        f"set local hnsw.max_scan_tuples = {MOST_SCANNED:d}; set local plan_cache_mode = force_custom_plan; "
        "set local jit = off"
    )


def hits_in(records: Sequence[Any]) -> list[SearchHit]:
    """Rows as values; a score is as exact as a 32-bit float can make it."""
    return [
        SearchHit(
            record["doc_id"],
            record["chunk"],
            record["starts_at"],
            record["text"],
            record["metadata"],
            round(record["score"], 6),
        )
        for record in records
    ]
