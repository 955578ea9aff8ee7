"""Exports of a collection are complete or fail."""

from __future__ import annotations

import asyncpg
import pytest

from kaixu.collections.contents import MAX_PAGE_BYTES, export_pieces, page_of_pieces
from kaixu.collections.searches import Searches
from kaixu.plugin.errors import UnknownCollection
from kaixu.store import collections as store
from tests.store.test_search import SMALL, filled


def searches(pool: asyncpg.Pool) -> Searches:
    """A way to the collections."""
    return Searches(pool, pool, most=16, statement_s=5)


async def test_all_pieces_are_read_in_order(pool: asyncpg.Pool) -> None:
    whole = await filled(pool, "whole", SMALL + 400)
    read = [piece.doc_id async for rows in export_pieces(searches(pool), whole) for piece in rows]
    assert len(read) == SMALL + 400
    assert read == sorted(read)


async def test_a_collection_that_is_deleted_meanwhile_does_not_look_whole(pool: asyncpg.Pool) -> None:
    going = await filled(pool, "going", SMALL + 400)
    reading = export_pieces(searches(pool), going)
    assert len(await anext(reading)) == 200
    assert await store.delete(pool, going.id, going.customer_id)
    await pool.execute("delete from kaixu.document where collection_id = $1", going.id)
    with pytest.raises(UnknownCollection):
        async for _ in reading:
            pass


async def test_long_pieces_come_in_pages_that_are_not_too_large(pool: asyncpg.Pool) -> None:
    long = await filled(pool, "long", 20)
    await pool.execute(
        "update kaixu.document set body = repeat('x', $2) where collection_id = $1", long.id, MAX_PAGE_BYTES // 3
    )
    ways = searches(pool)
    sizes = [len(rows) async for rows in export_pieces(ways, long)]
    assert sum(sizes) == 20
    assert max(sizes) <= 4
    rows, is_more = await page_of_pieces(ways, long, after=("", -1), limit=20)
    assert (len(rows), is_more) == (sizes[0], True)
    await pool.execute(
        "update kaixu.document set body = repeat('x', $2) where collection_id = $1", long.id, MAX_PAGE_BYTES * 2
    )
    rows, is_more = await page_of_pieces(ways, long, after=("", -1), limit=20)
    assert (len(rows), is_more) == (1, True)
