"""The blobs of one call of an integration: stored from its upload, read, and gone with it unless they are kept."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Protocol, get_args
from uuid import UUID, uuid4

import asyncpg
import msgspec
from cryptography.exceptions import InvalidTag

from kaixu.ops.finish import finish
from kaixu.ops.frames import FRAME_BYTES, Frames, frames_of, new_key
from kaixu.ops.sealing import Sealer, about_blob
from kaixu.plugin.blob import MOST_BLOB_BYTES, Blob, Hash
from kaixu.plugin.errors import (
    BlobQuota,
    DatabaseAway,
    DigestMismatch,
    Forbidden,
    NotFound,
    TicketClosed,
    TooLarge,
    Unavailable,
)
from kaixu.store import blob_rows
from kaixu.store.blob_files import BlobFiles
from kaixu.store.blob_rows import NewBlob, StoredBlob
from kaixu.store.pool import database

from .charges import Meter
from .wire import TicketWire

log = logging.getLogger(__name__)

#: How long a blob that is not kept lives after the last sign of its call, and how often its call gives one.
LEASE_S = 120.0
RENEWED_EVERY_S = 30.0

#: The most blobs of one customer.
MOST_BLOBS = 100_000


class UploadBody(Protocol):
    """The body of a request that has not been read yet."""

    @property
    def announced_bytes(self) -> int: ...

    def pieces(self) -> AsyncIterator[bytes]:
        """The body as it arrives, once."""
        ...


class BlobStore(msgspec.Struct, frozen=True):
    """Where blobs are, and how many bytes of them a customer may have."""

    files: BlobFiles
    quota_bytes: Callable[[], int]


class CallBlobs:
    """What one call may do with blobs: those of its integration and its customer."""

    def __init__(
        self,
        store: BlobStore,
        integration: str,
        customer_id: int | None,
        *,
        pool: Callable[[], asyncpg.Pool],
        sealer: Sealer,
        wire: TicketWire,
    ) -> None:
        self.store = store
        self.integration = integration
        self._customer_id = customer_id
        self._pool = pool
        self._sealer = sealer
        self._wire = wire
        self._own: list[UUID] = []  # stored by this call
        self._has_ended = False
        self._is_given_up = False  # the row of one of them is gone
        self._renewing: asyncio.Task[None] | None = None

    def require_customer(self) -> int:
        """The call's customer. Raises `TicketClosed`, and `ValueError` where it has none."""
        if self._wire.closed:
            raise TicketClosed("the call has been settled; it can use no blobs any more")
        if self._customer_id is None:
            raise ValueError("this call has no customer, and so no blobs")
        return self._customer_id

    # Storing.

    async def write(self, size: int, pieces: AsyncIterator[bytes], hash: Hash, expected: str | None) -> Blob:
        """Store a body of `size` bytes. Raises `BlobQuota`, `DigestMismatch`, `Unavailable`, what `pieces` raises."""
        customer_id, blob_id, key = self.require_customer(), uuid4(), new_key()
        row = NewBlob(
            id=blob_id,
            integration=self.integration,
            customer_id=customer_id,
            store_id=await self.store.files.store_id(),
            size=size,
            hash=hash,
            sealed_key=self._sealer.seal_named(key, about_blob(blob_id)),
        )
        self._own.append(blob_id)  # from now on there may be something to be removed
        await self._reserve(row)
        if self._has_ended:  # meanwhile, and without this row: a task that the handler has left behind
            await finish(asyncio.ensure_future(self._end([blob_id])))
            raise TicketClosed("the call has been settled; it can use no blobs any more")
        if self._renewing is None:
            self._renewing = asyncio.ensure_future(self._renew())
        digest = await self._write_frames(Frames(key, blob_id), blob_id, size, pieces, hash)
        if expected is not None and expected.strip().lower() != digest:
            raise DigestMismatch(expected[:128], digest)
        with database():
            if not await blob_rows.note_stored(self._pool(), blob_id, size=size, digest=digest, lease_s=LEASE_S):
                raise given_up()
        return Blob(blob_id, size, hash, digest)

    async def _reserve(self, row: NewBlob) -> None:
        quota_bytes = self.store.quota_bytes()
        with database():
            reserved = await blob_rows.reserve_blob(
                self._pool(), row, lease_s=LEASE_S, quota_bytes=quota_bytes, most_blobs=MOST_BLOBS
            )
        if reserved.refused == "BLOB_QUOTA":
            refusal = BlobQuota(
                f"the file has {row.size} bytes; {max(0, quota_bytes - reserved.used_bytes)} of the "
                f"{quota_bytes} bytes for the customer's files are free",
                hint="Wait until other uploads are done, or ask your operator for more.",
            )
            refusal.figures = {
                "announced_bytes": row.size, "used_bytes": reserved.used_bytes, "quota_bytes": quota_bytes
            }  # fmt: skip
            raise refusal
        if reserved.refused is not None:
            raise Forbidden("the customer has been deleted")

    async def _write_frames(
        self, frames: Frames, blob_id: UUID, size: int, pieces: AsyncIterator[bytes], hash: Hash
    ) -> str:
        """Write all frames; the digest of what they contain."""
        digest = hashlib.new(hash, usedforsecurity=False)
        last = frames_of(size) - 1

        def seal(number: int, data: bytes) -> bytes:
            digest.update(data)
            return frames.seal(number, data, is_last=number == last)

        async def write(number: int, data: bytes) -> None:
            sealed = await asyncio.to_thread(seal, number, data)
            if self._is_given_up:
                raise given_up()
            self.require_customer()  # a task that the handler has left behind writes nothing more
            # To its end, even if the client has left: what is written later than the files are removed would stay.
            await finish(asyncio.ensure_future(self.store.files.write(blob_id, number, sealed)))

        waiting, number = bytearray(), 0
        async for piece in pieces:
            waiting += piece
            while len(waiting) >= FRAME_BYTES and number < last:
                with memoryview(waiting) as view:
                    data = bytes(view[:FRAME_BYTES])
                del waiting[:FRAME_BYTES]
                await write(number, data)
                number += 1
        await write(number, bytes(waiting))
        return digest.hexdigest()

    async def _renew(self) -> None:
        """Let the blobs of this call live on while it runs. Ends where one of them was given up meanwhile."""
        while True:
            await asyncio.sleep(RENEWED_EVERY_S)
            try:
                with database():
                    if not await blob_rows.renew_blobs(self._pool(), self._own, lease_s=LEASE_S):
                        self._is_given_up = True
                        return
            except DatabaseAway:
                log.warning("the blobs of a call could not be renewed: the database does not answer")

    # Reading.

    async def read(self, blob: Blob, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """See `kaixu.plugin.Call.chunks`."""
        row = await self._find(blob)
        end = row.size if end is None else end
        if not 0 <= start <= end <= row.size:
            raise ValueError(f"a part of a blob of {row.size} bytes cannot go from {start} to {end}")
        key = self._key_of(row)
        frames, last = Frames(key, row.id), frames_of(row.size) - 1
        for number in range(start // FRAME_BYTES, -(-end // FRAME_BYTES)):
            sealed = await self.store.files.read(row.id, number)
            self.require_customer()
            try:
                data = await asyncio.to_thread(frames.open, number, sealed, is_last=number == last)
            except InvalidTag:
                raise Unavailable("a stored file was changed, and cannot be read", code="BLOB_DAMAGED") from None
            offset = number * FRAME_BYTES
            yield data[max(0, start - offset) : end - offset]

    async def _find(self, blob: Blob) -> StoredBlob:
        customer_id = self.require_customer()
        with database():
            row = await blob_rows.find_blob(
                self._pool(), blob.id, integration=self.integration, customer_id=customer_id
            )
        if row is None or row.size != blob.size:
            raise no_such_blob()
        if row.store_id != await self.store.files.store_id():
            raise Unavailable(
                "this gateway does not use the store that has the file",
                code="BLOBS_AWAY",
                hint="Tell your operator to run `kaixu doctor`.",
            )
        return row

    def _key_of(self, row: StoredBlob) -> bytes:
        try:
            return self._sealer.open(row.sealed_key, about_blob(row.id))
        except InvalidTag:
            raise Unavailable(
                "the file cannot be decrypted: it was stored with another DB_ENCRYPTION_KEY", code="BLOB_DAMAGED"
            ) from None

    async def save(self, blobs: Blob | Sequence[Blob], path: Path) -> int:
        """See `kaixu.plugin.Call.save`."""
        self.require_customer()
        size = 0
        with await asyncio.to_thread(path.open, "wb") as file:
            for blob in [blobs] if isinstance(blobs, Blob) else blobs:
                async for piece in self.read(blob):
                    size += await asyncio.to_thread(file.write, piece)
        return size

    async def end(self) -> None:
        """The call has ended: what it has stored and not kept is removed. Without the database, the sweep does it."""
        self._has_ended = True
        if self._renewing is not None:
            self._renewing.cancel()
        if not self._own:
            return
        own, self._own = self._own, []
        await finish(asyncio.ensure_future(self._end(own)))

    async def _end(self, own: Sequence[UUID]) -> None:
        try:
            with database():
                await blob_rows.end_blobs(self._pool(), own)
        except DatabaseAway:
            log.warning("the blobs of a call are removed later: the database does not answer")


class CallUpload:
    """See `kaixu.plugin.Upload`. `paused`: around the time in which the handler's limit does not run."""

    def __init__(
        self, body: UploadBody, blobs: CallBlobs, meter: Meter, paused: Callable[[Awaitable[Blob]], Awaitable[Blob]]
    ) -> None:
        self._body = body
        self._blobs = blobs
        self._meter = meter
        self._paused = paused

    @property
    def announced_bytes(self) -> int:
        """The length that the client has announced."""
        return self._body.announced_bytes

    async def store(self, *, most_bytes: int, hash: Hash = "sha256", digest: str | None = None) -> Blob:
        """See `kaixu.plugin.Upload.store`."""
        self._blobs.require_customer()
        if hash not in get_args(Hash):
            raise ValueError(f"there is no hash {hash!r:.40}; there are {', '.join(get_args(Hash))}")
        size = self.announced_bytes
        if size > min(most_bytes, MOST_BLOB_BYTES):
            raise TooLarge(f"the file has {size} bytes; at most {min(most_bytes, MOST_BLOB_BYTES)} are allowed")
        self._meter.count("bytes_in", size)
        return await self._paused(self._blobs.write(size, self._body.pieces(), hash, digest))


def given_up() -> Unavailable:
    """The error for an upload whose row is gone."""
    return Unavailable("the upload was given up", hint="Send it again.", retry_after_s=1)


def no_such_blob() -> NotFound:
    """The error for a blob that the call cannot use, whatever the reason."""
    return NotFound("there is no such blob", hint="It may have expired.")
