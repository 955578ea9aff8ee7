"""Blobs: files that customers upload, stored by the core, and read again by operations and jobs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any, Literal, Protocol
from uuid import UUID

import httpx
import msgspec

Hash = Literal["md5", "sha1", "sha256", "sha512"]

#: The largest blob.
MOST_BLOB_BYTES = 64 * 1024**3

#: The longest name under which a blob is kept, and the longest time.
MOST_BLOB_NAME = 500
MOST_KEPT_S = 366 * 24 * 3600.0

#: The most blobs that are listed at once.
MOST_LISTED = 10_000


class Blob(msgspec.Struct, frozen=True):
    """A stored file: its size, and its digest in hexadecimal digits. It may be part of a job's payload.

    It can be used in calls of its integration for its customer, and nowhere else.
    """

    id: UUID
    size: int
    hash: Hash
    digest: str


class KeptBlob(msgspec.Struct, frozen=True):
    """A blob that is kept under a name, until `expires_at`."""

    name: str
    blob: Blob
    expires_at: datetime


class Upload(Protocol):
    """The body of an upload. Nothing of it is read before `store`."""

    @property
    def announced_bytes(self) -> int:
        """The length that the client has announced."""
        ...

    async def store(self, *, most_bytes: int, hash: Hash = "sha256", digest: str | None = None) -> Blob:
        """Read the body, once, into the store of blobs. It is removed with the call unless it is kept.

        `digest`: what the client says that the digest is. The time limit of the handler does not run meanwhile.

        Raises `TooLarge` where more than `most_bytes` are announced, or more than the charge's `most`; `BlobQuota`
        where the customer has no room for so much; `DigestMismatch`; `BodyTimeout` if the client stalls. Nothing is
        left behind then.
        """
        ...


class BlobBody(httpx.AsyncByteStream):
    """The body of a request that is read from blobs, each time that it is sent; its length is known."""

    def __init__(self, blobs: Sequence[Blob], read: Read) -> None:
        self.blobs = tuple(blobs)
        self.size = sum(one.size for one in self.blobs)
        self._read = read

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for blob in self.blobs:
            async for piece in self._read(blob):
                yield piece


class Read(Protocol):
    """Reads a blob from its beginning."""

    def __call__(self, blob: Blob, /) -> AsyncIterator[bytes]: ...


def blob_body_of(stream: Any) -> BlobBody | None:
    """The body of blobs that a request was made with, as `stream=` or as `content=`."""
    if isinstance(stream, BlobBody):
        return stream
    inner = getattr(stream, "_stream", None)  # of httpx's own wrapper around `content=`
    return inner if isinstance(inner, BlobBody) else None


def prepare_blob_body(request: httpx.Request) -> None:
    """Announce the length of a body of blobs, so that the vendor gets it, and the body can be sent again."""
    body = blob_body_of(request.stream)
    if body is not None:
        request.stream = body
        request.headers.pop("transfer-encoding", None)
        request.headers["content-length"] = str(body.size)


def require_kept(name: str, for_s: float) -> None:
    """Raises `ValueError` for a name or a time that is not possible."""
    require_prefix(name)
    if not name:
        raise ValueError("a blob is kept under a name")
    if not 0 < for_s <= MOST_KEPT_S:
        raise ValueError(f"a blob is kept for more than 0 and up to {MOST_KEPT_S:.0f} s, not {for_s}")


def require_prefix(prefix: str) -> None:
    """Raises `ValueError` for what no name can begin with."""
    if not isinstance(prefix, str) or len(prefix) > MOST_BLOB_NAME or "\0" in prefix:
        raise ValueError(f"a name of a blob is a text of at most {MOST_BLOB_NAME} characters without NUL")


def blobs_in(value: Any) -> list[Blob]:
    """The blobs in a payload of a job, at any depth; each once."""
    found: dict[UUID, Blob] = {}
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, Blob):
            found[one.id] = one
        elif isinstance(one, msgspec.Struct):
            waiting += [getattr(one, name) for name in one.__struct_fields__]
        elif isinstance(one, dict):
            waiting += [*one.keys(), *one.values()]
        elif isinstance(one, list | tuple | set | frozenset):
            waiting += one
    return list(found.values())
