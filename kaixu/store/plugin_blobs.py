"""What a transaction of an integration does with blobs: noted by the gateway, done by the integration's own role."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from kaixu.plugin.blob import MOST_LISTED, Blob, KeptBlob, require_kept, require_prefix
from kaixu.plugin.errors import NotFound, TooLarge

from .pool import database

ACCESS = """
    with forgotten as (
        delete from kaixu.plugin_blob_access
         where made_at not between clock_timestamp() - interval '5 minutes' and clock_timestamp() + interval '5 minutes'
    )
    insert into kaixu.plugin_blob_access (id, integration, customer_id, blob_id, name, for_s)
    values ($1, $2, $3, $4, $5, $6)
"""

#: What a transaction does, as the role of an integration, and as the gateway in its place.
PLUGIN_KEEP = "select kaixu__plugin.keep_blob(p_access => $1)"
PLUGIN_KEPT = "select * from kaixu__plugin.kept_blobs(p_access => $1)"
PLUGIN_DROP = "select kaixu__plugin.drop_blobs(p_access => $1)"
GATEWAY_KEEP = """
    select kaixu.keep_blob(p_integration => $1, p_customer_id => $2, p_id => $3, p_name => $4, p_for_s => $5)
"""
GATEWAY_KEPT = "select * from kaixu.kept_blobs(p_integration => $1, p_customer_id => $2, p_prefix => $3, p_most => $4)"
GATEWAY_DROP = "select kaixu.drop_blobs(p_integration => $1, p_customer_id => $2, p_prefix => $3)"
GATEWAY_USE = "select kaixu.use_blobs(p_job_id => $1, p_integration => $2, p_customer_id => $3, p_ids => $4)"


class BlobNote:
    """One thing that a transaction does with blobs: checked. Raises `ValueError`."""

    def __init__(
        self, customer_id: int | None, name: str, blob: Blob | None = None, for_s: float | None = None
    ) -> None:
        if customer_id is None:
            raise ValueError("this call has no customer, and so no blobs")
        if for_s is None:
            require_prefix(name)
        else:
            require_kept(name, for_s)
        self.customer_id = customer_id
        self.name = name
        self.blob_id = None if blob is None else blob.id
        self.for_s = None if for_s is None else float(for_s)


async def allow_blob_access(pool: asyncpg.Pool, integration: str, note: BlobNote) -> UUID:
    """Let the integration's role do it once, within a minute; the id. Raises `DatabaseAway`."""
    access_id = uuid4()
    with database():
        await pool.execute(ACCESS, access_id, integration, note.customer_id, note.blob_id, note.name, note.for_s)
    return access_id


def kept_of(rows: Sequence[Mapping[str, Any]]) -> list[KeptBlob]:
    """The rows of kept blobs. Raises `TooLarge` for too many."""
    if len(rows) > MOST_LISTED:
        raise TooLarge(f"there are more than {MOST_LISTED} kept blobs with this beginning")
    return [
        KeptBlob(row["name"], Blob(row["id"], row["bytes"], row["hash"], row["digest"]), row["expires_at"])
        for row in rows
    ]


def require_found(*, was_found: bool) -> None:
    """Raises `NotFound` for a blob that could not be kept, or be a job's."""
    if not was_found:
        raise NotFound("there is no such blob", hint="It may have expired.")
