"""Search in one collection: exactly in a small one, by its own index in a large one, by words in both.

Statements here are put together from numbers and from conditions that hold nothing but parameters. The number of a
collection and of its dimensions stand in the text, for the planner must see them to find that collection's index.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import asyncpg
import msgspec

from .collections import Collection

#: pgvector indexes no longer vectors than these (its README, "HNSW"): whole, and as 16-bit floats.
MOST_INDEXED = 2000
MOST_INDEXED_HALF = 4000

#: So many numbers (vectors x dimensions) are compared one by one within some milliseconds.
EXACT_NUMBERS = 3_000_000

#: How many neighbours HNSW keeps in sight; more where a filter throws most of them away.
EF_SEARCH = 120
EF_SEARCH_FILTERED = 400

#: After so many vectors an index scan gives up; the rest is left to exact search.
MOST_SCANNED = 40_000

#: How many rows full-text search ranks at most.
MOST_RANKED = 20_000

COLUMNS = "d.doc_id, d.chunk, d.starts_at, d.body as text, d.metadata"


class Found(msgspec.Struct, frozen=True):
    """A piece near to what was asked; `score` is the cosine of the angle between them, 1 for the same direction."""

    doc_id: str
    chunk: int
    starts_at: int
    text: str
    metadata: dict[str, Any]
    score: float


class Condition(msgspec.Struct, frozen=True):
    """What a piece's metadata must be like: SQL over `d.metadata` with its parameters from `$first` on.

    `indexed`: an index on metadata narrows it.
    """

    sql: str = "true"
    values: tuple[Any, ...] = ()
    indexed: bool = False


ALL = Condition()

#: Where the parameters of a condition begin.
FIRST = 3


def cast_of(dimensions: int) -> str | None:
    """The type that a collection's index is of; None: there is no index for such long vectors."""
    if dimensions <= MOST_INDEXED:
        return f"vector({dimensions:d})"
    return f"halfvec({dimensions:d})" if dimensions <= MOST_INDEXED_HALF else None


def exact_sql(collection_id: int, condition: Condition) -> str:
    """Every vector of a collection that the condition lets through, compared."""
    return f"""
        select {COLUMNS}, (1 - (d.embedding <=> $1))::float8 as score
          from kaixu.document d
         where d.collection_id = {collection_id:d} and {condition.sql}
         order by d.embedding <=> $1, d.doc_id, d.chunk
         limit $2
    """  # noqa: S608 - a number, and a condition without values


def indexed_sql(collection_id: int, dimensions: int, condition: Condition) -> str:
    """The index's candidates, then put into their exact order."""
    cast = cast_of(dimensions)
    assert cast is not None
    return f"""
        with near as materialized (
            select {COLUMNS}, d.embedding <=> $1 as distance
              from kaixu.document d
             where d.collection_id = {collection_id:d} and {condition.sql}
             order by d.embedding::{cast} <=> $1::{cast}
             limit $2 * 2
        )
        select n.doc_id, n.chunk, n.starts_at, n.text, n.metadata, (1 - n.distance)::float8 as score
          from near n
         order by n.distance, n.doc_id, n.chunk
         limit $2
    """  # noqa: S608 - numbers, and a condition without values


def matching_sql(collection_id: int, condition: Condition) -> str:
    """How many rows a condition lets through, counted up to $1."""
    return f"""
        select count(*)
          from (select from kaixu.document d
                 where d.collection_id = {collection_id:d} and {condition.sql} and $2::vector is not null limit $1) x
    """  # noqa: S608 - a number, and a condition without values


def words_sql(collection_id: int, condition: Condition) -> str:
    """What holds any of the words that were asked for, the most and the rarest first."""
    at = FIRST + len(condition.values)
    return f"""
        with asked as materialized (
            select replace(plainto_tsquery(${at + 1}::text::regconfig, ${at})::text, ' & ', ' | ')::tsquery as words
        ), matching as materialized (
            select {COLUMNS}, d.embedding, d.words
              from kaixu.document d, asked a
             where d.collection_id = {collection_id:d} and {condition.sql} and d.words @@ a.words
             limit {MOST_RANKED}
        )
        select m.doc_id, m.chunk, m.starts_at, m.text, m.metadata, (1 - (m.embedding <=> $1))::float8 as score
          from matching m, asked a
         order by ts_rank_cd(m.words, a.words, 1) desc, m.doc_id, m.chunk
         limit $2
    """  # noqa: S608 - a number, and a condition without values


async def nearest(
    pool: asyncpg.Pool, collection: Collection, vector: bytes, *, condition: Condition = ALL, limit: int
) -> list[Found]:
    """The pieces nearest to a vector, nearest first."""
    exact = exact_sql(collection.id, condition)
    values = (vector, limit, *condition.values)
    if collection.index_state != "ready" or cast_of(collection.dimensions) is None:
        return found(await pool.fetch(exact, *values))
    async with pool.acquire() as connection, connection.transaction(readonly=True):
        filtered = condition.sql != ALL.sql
        await connection.execute(settings(EF_SEARCH_FILTERED if filtered else max(EF_SEARCH, limit * 3)))
        if condition.indexed:
            few = max(1, EXACT_NUMBERS // collection.dimensions)
            count = await connection.fetchval(
                matching_sql(collection.id, condition), few + 1, vector, *condition.values
            )
            if count <= few:
                return found(await connection.fetch(exact, *values))
        rows = found(await connection.fetch(indexed_sql(collection.id, collection.dimensions, condition), *values))
        if len(rows) < min(limit, collection.vectors):
            # The filter left too few of those that the index came by: the rest is looked for one by one.
            rows = found(await connection.fetch(exact, *values))
        return rows


async def with_words(
    pool: asyncpg.Pool,
    collection: Collection,
    vector: bytes,
    words: str,
    *,
    condition: Condition = ALL,
    limit: int,
) -> list[Found]:
    """The pieces that hold the words of a question best, each with its nearness to `vector` as its score."""
    async with pool.acquire() as connection, connection.transaction(readonly=True):
        await connection.execute(settings(EF_SEARCH))
        return found(
            await connection.fetch(
                words_sql(collection.id, condition), vector, limit, *condition.values, words, collection.language
            )
        )


def settings(ef_search: int) -> str:
    """What the planner is told for one search, until its transaction ends."""
    return (
        f"set local hnsw.ef_search = {min(ef_search, 1000):d}; set local hnsw.iterative_scan = relaxed_order; "
        f"set local hnsw.max_scan_tuples = {MOST_SCANNED:d}; set local plan_cache_mode = force_custom_plan; "
        "set local jit = off"
    )


def found(records: Sequence[Any]) -> list[Found]:
    """Rows as values; a score is as exact as a 32-bit float can make it."""
    return [
        Found(
            record["doc_id"],
            record["chunk"],
            record["starts_at"],
            record["text"],
            record["metadata"],
            round(record["score"], 6),
        )
        for record in records
    ]
