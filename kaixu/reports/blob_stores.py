"""The stores of blobs that gateways use: there should be one."""

from __future__ import annotations

from uuid import UUID

import msgspec

from kaixu.store.blob_sweep import USED_WITHIN_S
from kaixu.store.query import Connection, Query


class StoreSeen(msgspec.Struct, frozen=True):
    """A store of blobs that a gateway used of late, as operators know it."""

    id: UUID
    place: str


SEEN = Query(
    StoreSeen,
    "select s.id, s.place from kaixu.blob_store s where s.seen_at > now() - make_interval(secs => $1) order by s.place",
)


async def stores_in_use(db: Connection) -> list[StoreSeen]:
    """The stores that gateways have used in the last minutes."""
    return await SEEN.all(db, USED_WITHIN_S)
