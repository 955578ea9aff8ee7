"""The rows of integrations' blobs: reserved, renewed, found, ended. Their bytes are in `blob_files`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from .query import Connection, Query


class NewBlob(msgspec.Struct, frozen=True):
    """A blob that is about to be stored, with the bytes that its client has announced."""

    id: UUID
    integration: str
    customer_id: int
    store_id: UUID
    size: int
    hash: str
    sealed_key: bytes


class Reserved(msgspec.Struct, frozen=True):
    """What schema/functions/reserve_blob.sql did. `refused` is a code, or None."""

    refused: str | None
    used_bytes: int


class StoredBlob(msgspec.Struct, frozen=True):
    """A blob that is whole."""

    id: UUID
    store_id: UUID
    size: int
    hash: str
    digest: str
    sealed_key: bytes


class BlobId(msgspec.Struct, frozen=True):
    """The id of a blob."""

    id: UUID


class Ended(msgspec.Struct, frozen=True):
    """How many rows were removed."""

    count: int


class BlobOnFile(msgspec.Struct, frozen=True):
    """A whole blob, and what its files should be."""

    id: UUID
    size: int
    created_at: datetime


RESERVE = Query(
    Reserved,
    """
    select refused, used_bytes
      from kaixu.reserve_blob(p_id => $1, p_integration => $2, p_customer_id => $3, p_store_id => $4, p_bytes => $5,
                              p_hash => $6, p_sealed_key => $7, p_lease_s => $8, p_quota_bytes => $9,
                              p_most_blobs => $10)
    """,
)

#: An upload whose row is gone was given up: its lease has expired, or its customer was deleted.
RENEW = Query(
    BlobId,
    """
    update kaixu.blob b
       set expires_at = case when b.name is null then clock_timestamp() + make_interval(secs => $2)
                             else b.expires_at end
     where b.id = any ($1::uuid[])
    returning b.id
    """,
)

STORED = Query(
    BlobId,
    """
    update kaixu.blob b
       set bytes = $2, digest = $3, expires_at = clock_timestamp() + make_interval(secs => $4)
     where b.id = $1 and b.digest is null
    returning b.id
    """,
)

FIND = Query(
    StoredBlob,
    """
    select b.id, b.store_id, b.bytes as size, b.hash, b.digest, b.sealed_key
      from kaixu.blob b
     where b.id = $1 and b.integration = $2 and b.customer_id = $3 and b.digest is not null
    """,
)

END = Query(Ended, "select kaixu.end_blobs(p_ids => $1, p_most => $2) as count")

REMOVALS = Query(
    BlobId,
    "select r.blob_id as id from kaixu.blob_removal r where r.store_id = $1 order by r.since limit $2",
)

ON_FILE = Query(
    BlobOnFile,
    """
    select b.id, b.bytes as size, b.created_at
      from kaixu.blob b
     where b.store_id = $1 and b.id >= $2 and b.id <= $3 and b.digest is not null
    """,
)

KNOWN = Query(BlobId, "select b.id from kaixu.blob b where b.id = any ($1::uuid[])")


async def reserve_blob(db: Connection, blob: NewBlob, *, lease_s: float, quota_bytes: int, most_blobs: int) -> Reserved:
    """Make room for a blob, or say why there is none."""
    row = await RESERVE.one(
        db,
        blob.id,
        blob.integration,
        blob.customer_id,
        blob.store_id,
        blob.size,
        blob.hash,
        blob.sealed_key,
        float(lease_s),
        quota_bytes,
        most_blobs,
    )
    assert row is not None
    return row


async def renew_blobs(db: Connection, ids: Sequence[UUID], *, lease_s: float) -> bool:
    """Let blobs that are not kept live on; False: one of them is gone."""
    return len(await RENEW.all(db, list(ids), float(lease_s))) == len(ids)


async def note_stored(db: Connection, blob_id: UUID, *, size: int, digest: str, lease_s: float) -> bool:
    """Note that a blob is whole; False: it was given up before."""
    return await STORED.one(db, blob_id, size, digest, float(lease_s)) is not None


async def find_blob(db: Connection, blob_id: UUID, *, integration: str, customer_id: int) -> StoredBlob | None:
    """A whole blob of this integration and customer."""
    return await FIND.one(db, blob_id, integration, customer_id)


async def end_blobs(db: Connection, ids: Sequence[UUID] | None, *, most: int = 1000) -> int:
    """Remove the rows of blobs whose time is over; None: of all. Returns how many."""
    row = await END.one(db, None if ids is None else list(ids), most)
    assert row is not None
    return row.count


async def removals(db: Connection, store_id: UUID, most: int) -> list[UUID]:
    """Blobs whose files are to be removed from this store."""
    return [row.id for row in await REMOVALS.all(db, store_id, most)]


async def removed(db: Connection, ids: Sequence[UUID]) -> None:
    """The files of these blobs are gone."""
    await db.execute("delete from kaixu.blob_removal where blob_id = any ($1::uuid[])", list(ids))


async def forget_removals(db: Connection, *, days: int) -> None:
    """Forget removals from stores that no gateway has used for so long."""
    await db.execute(
        """
        delete from kaixu.blob_removal r
         where r.since < now() - make_interval(days => $1)
           and not exists (select from kaixu.blob_store s
                            where s.id = r.store_id and s.seen_at > now() - make_interval(days => $1))
        """,
        days,
    )


async def on_file(db: Connection, store_id: UUID, first: UUID, last: UUID) -> list[BlobOnFile]:
    """The whole blobs of a store between two ids."""
    return await ON_FILE.all(db, store_id, first, last)


async def ids_with_rows(db: Connection, ids: Sequence[UUID]) -> set[UUID]:
    """Which of these blobs have a row."""
    return {row.id for row in await KNOWN.all(db, list(ids))}


async def forget_blobs(db: Connection, ids: Sequence[UUID]) -> int:
    """Remove the rows of blobs whose files are not there; how many."""
    status = await db.execute("delete from kaixu.blob where id = any ($1::uuid[])", list(ids))
    return int(status.rpartition(" ")[2])


async def are_there_any(db: Connection) -> bool:
    """Whether there are blobs, or files to be removed."""
    found: bool = await db.fetchval("select exists (select from kaixu.blob) or exists (select from kaixu.blob_removal)")
    return found


async def was_a_store_used(db: Connection) -> bool:
    """Whether a gateway has ever stored a blob."""
    found: bool = await db.fetchval("select exists (select from kaixu.blob_store)")
    return found


async def home_id(db: Connection) -> UUID:
    """The name of this database in stores of blobs."""
    found: UUID = await db.fetchval("select id from kaixu.blob_home")
    return found


async def note_store(db: Connection, store_id: UUID, place: str) -> None:
    """Note that this gateway uses a store."""
    await db.execute(
        """
        insert into kaixu.blob_store (id, place) values ($1, $2)
        on conflict (id) do update set place = excluded.place, seen_at = clock_timestamp()
        """,
        store_id,
        place,
    )
