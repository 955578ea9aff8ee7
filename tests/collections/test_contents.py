"""Reading a whole collection: all of it, or it is said that it is not."""

from __future__ import annotations

import asyncpg
import pytest

from kaixu.collections.contents import all_pieces
from kaixu.plugin.errors import UnknownCollection
from kaixu.store import collections as store
from tests.store.test_search import SMALL, filled


async def test_all_pieces_are_read_in_order(pool: asyncpg.Pool) -> None:
    whole = await filled(pool, "whole", SMALL + 400)
    read = [piece.doc_id async for rows in all_pieces(pool, whole) for piece in rows]
    assert len(read) == SMALL + 400
    assert read == sorted(read)


async def test_a_collection_that_is_deleted_meanwhile_does_not_look_whole(pool: asyncpg.Pool) -> None:
    going = await filled(pool, "going", SMALL + 400)
    reading = all_pieces(pool, going)
    assert len(await anext(reading)) == 200
    assert await store.delete(pool, going.id, going.customer_id)
    await pool.execute("delete from kaixu.document where collection_id = $1", going.id)
    with pytest.raises(UnknownCollection):
        async for _ in reading:
            pass
