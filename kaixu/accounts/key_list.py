"""The operator's list of a customer's keys: filters, sorting, pages."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import asyncpg
import msgspec

from kaixu.store.key_list import KeyFilter, keys_in_order
from kaixu.store.keys import ListedKey
from kaixu.store.pool import database

from . import fields
from .list_order import cursor_of, pattern_of, read_before_id, read_order

SORTS = ("id", "spent", "last_seen")

#: The most keys of a page, and how many there are by default.
MOST_LISTED = 1000
LISTED = 200

MAX_TEXT = 100
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class KeyPage(msgspec.Struct, frozen=True):
    """Keys, and where the next page begins; None: there is none."""

    keys: list[ListedKey]
    next_cursor: str | None


async def key_page(pool: asyncpg.Pool, customer_id: int, given: Mapping[str, object]) -> KeyPage:
    """A page of a customer's keys, by the fields of a request.

    They are `q` (a part of the label, or the last four characters), `revoked`, `role`, `chain_of` (a key's id), `sort`,
    `order`, `limit`, `cursor`; `before_id` does what a cursor by descending id does. Raises `Unprocessable`.
    """
    order = read_order(given, SORTS, default="id", descending=SORTS)
    limit = fields.bounded(given.get("limit"), "limit", MOST_LISTED, least=1) or LISTED
    before_id = read_before_id(given, order)
    chosen = KeyFilter(
        pattern=pattern_of(fields.text(given.get("q"), "q", MAX_TEXT)),
        is_revoked=fields.switch(given.get("revoked"), "revoked"),
        role=fields.role(given.get("role") or None, "role"),
        chain_of=fields.bounded(given.get("chain_of"), "chain_of", fields.MOST_ID, least=1),
    )
    after = (order.after_number, order.after_id)
    if before_id is not None:
        after = (before_id, before_id)
    with database():
        rows = await keys_in_order(
            pool,
            customer_id,
            chosen,
            sort=order.sort,
            is_descending=order.is_descending,
            after=after,
            limit=limit + 1,
        )
    page = rows[:limit]
    if len(rows) <= limit:
        return KeyPage(page, None)
    last = page[-1]
    value = {"id": last.id, "spent": last.spent_nusd, "last_seen": microseconds(last.last_seen_at)}[order.sort]
    return KeyPage(page, cursor_of(order.sort, value, last.id))


def microseconds(moment: datetime | None) -> int:
    """A moment as the list is sorted by it; 0 for never."""
    return 0 if moment is None else (moment - EPOCH) // timedelta(microseconds=1)
