"""Blobs for tests: in memory."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args
from uuid import UUID, uuid4

from kaixu.plugin.blob import Blob, Hash, KeptBlob, require_kept, require_prefix
from kaixu.plugin.errors import DigestMismatch, NotFound, TooLarge

#: The pieces that a blob is read in.
PIECE_BYTES = 1024 * 1024


class FakeBlobs:
    """The blobs of one customer. `kept` has those that are kept, by name; `contents` all of them, by id.

    Raises what the real ones raise. Blobs that are not kept stay in `contents`, for tests to look at.
    """

    def __init__(self, kept: Mapping[str, bytes], require_customer: Callable[[], object]) -> None:
        self.contents: dict[UUID, bytes] = {}
        self.kept: dict[str, KeptBlob] = {}
        self._require_customer = require_customer
        for name, content in kept.items():
            self.kept[name] = KeptBlob(name, self.add(content), datetime.now(UTC) + timedelta(days=1))

    def add(self, content: bytes, hash: Hash = "sha256") -> Blob:
        """A blob with this content, such as for the payload of a job."""
        blob = Blob(uuid4(), len(content), hash, hashlib.new(hash, content, usedforsecurity=False).hexdigest())
        self.contents[blob.id] = content
        return blob

    def content(self, blob: Blob) -> bytes:
        """The bytes of a blob. Raises `NotFound`."""
        self._require_customer()
        if blob.id not in self.contents:
            raise NotFound("there is no such blob")
        return self.contents[blob.id]

    async def read(self, blob: Blob, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """See `Call.chunks`."""
        content = self.content(blob)
        end = len(content) if end is None else end
        if not 0 <= start <= end <= len(content):
            raise ValueError(f"a part of a blob of {len(content)} bytes cannot go from {start} to {end}")
        for at in range(start, end, PIECE_BYTES):
            yield content[at : min(end, at + PIECE_BYTES)]

    async def save(self, blobs: Blob | Sequence[Blob], path: Path) -> int:
        """See `Call.save`."""
        whole = b"".join(self.content(blob) for blob in ([blobs] if isinstance(blobs, Blob) else blobs))
        return await asyncio.to_thread(path.write_bytes, whole)

    def keep(self, blob: Blob, name: str, for_s: float) -> None:
        """See `Database.keep`."""
        require_kept(name, for_s)
        self.content(blob)
        self.kept = {other: one for other, one in self.kept.items() if one.blob.id != blob.id}
        self.kept[name] = KeptBlob(name, blob, datetime.now(UTC) + timedelta(seconds=for_s))

    def named(self, prefix: str) -> list[KeptBlob]:
        """See `Database.kept`."""
        self._require_customer()
        require_prefix(prefix)
        return [self.kept[name] for name in sorted(self.kept) if name.startswith(prefix)]

    def drop(self, prefix: str) -> int:
        """See `Database.drop`."""
        dropped = self.named(prefix)
        for one in dropped:
            del self.kept[one.name]
        return len(dropped)


class FakeUpload:
    """The body of an upload. `announced_bytes`: what the client says of it."""

    def __init__(self, content: bytes, blobs: FakeBlobs, count: Callable[[int], None]) -> None:
        self.announced_bytes = len(content)
        self._content = content
        self._blobs = blobs
        self._count = count
        self.was_read = False

    async def store(self, *, most_bytes: int, hash: Hash = "sha256", digest: str | None = None) -> Blob:
        """See `Upload.store`."""
        if hash not in get_args(Hash):
            raise ValueError(f"there is no hash {hash!r:.40}; there are {', '.join(get_args(Hash))}")
        if self.announced_bytes > most_bytes:
            raise TooLarge(f"the file has {self.announced_bytes} bytes; at most {most_bytes} are allowed")
        if self.was_read:
            raise ValueError("the body of this upload was read already")
        self.was_read = True
        self._count(self.announced_bytes)
        blob = self._blobs.add(self._content, hash)
        if digest is not None and digest.strip().lower() != blob.digest:
            raise DigestMismatch(digest, blob.digest)
        return blob
