"""Files that do not belong into the database, in a folder or in an object store."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import cache, cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, TypeVar

import msgspec

from kaixu.config.gateway_section import BlobsSection
from kaixu.plugin.errors import NotFound, Unavailable, Unprocessable

if TYPE_CHECKING:
    from obstore.store import ObjectStore

#: The longest name of a blob.
MAX_NAME = 500

#: Parts of a name: letters, digits and `._-`; a part never begins with a dot, so there is no `..`.
NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
PREFIX = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]*/)*(?:[A-Za-z0-9_-][A-Za-z0-9._-]*)?")

Result = TypeVar("Result")


class Blob(msgspec.Struct, frozen=True):
    """A blob's name, its size in bytes, and when it was written."""

    name: str
    size: int
    updated_at: datetime


class Blobs:
    """Put, get, list and delete blobs by name. Names are checked: they cannot leave the store's prefix.

    `open_store` opens the store, at its first use: without blobs its library would take 4 MB of memory for nothing.
    `place` is the store as operators know it; `folder` is where it is, if it is a folder.
    """

    def __init__(self, open_store: Callable[[], ObjectStore], place: str = "", folder: Path | None = None) -> None:
        self._open_store = open_store
        self.place = place
        self.folder = folder

    @cached_property
    def store(self) -> ObjectStore:
        """The store."""
        return self._open_store()

    async def put(self, name: str, data: bytes) -> None:
        """Write a blob whole, or not at all; one of the same name is replaced. Raises `Unavailable`."""
        await answered(self.store.put_async(checked(name), data))

    async def put_new(self, name: str, data: bytes) -> bool:
        """Write a blob if there is none of this name; whether that was done. Raises `Unavailable`."""
        try:
            await self.store.put_async(checked(name), data, mode="create")
        except (errors().AlreadyExistsError, FileExistsError):
            return False
        except (errors().BaseError, OSError) as error:
            raise away(error) from None
        return True

    async def get(self, name: str) -> bytes:
        """A blob's bytes. Raises `NotFound`, `Unavailable`."""
        result = await answered(self.store.get_async(checked(name)))
        return bytes(await answered(result.bytes_async()))

    async def stream(self, name: str) -> AsyncIterator[bytes]:
        """A blob's bytes in pieces. Raises `NotFound`, `Unavailable`."""
        result = await answered(self.store.get_async(checked(name)))
        try:
            async for piece in result.stream():
                yield bytes(piece)
        except errors().BaseError as error:
            raise away(error) from None

    async def list(self, prefix: str, *, after: str | None = None, most: int = 200) -> list[Blob]:
        """At most `most` blobs whose names begin with `prefix` and come after `after`, by name."""
        if len(prefix) > MAX_NAME or not PREFIX.fullmatch(prefix):
            raise Unprocessable("`prefix` is no beginning of a name", field="prefix")
        folder = prefix.rpartition("/")[0]
        found: list[Blob] = []
        try:
            async for page in self.store.list(folder or None, chunk_size=1000):
                found += [
                    Blob(one["path"], one["size"], one["last_modified"])
                    for one in page
                    if one["path"].startswith(prefix) and (after is None or one["path"] > after)
                ]
        except errors().BaseError as error:
            raise away(error) from None
        # Stores list in different orders, and a folder in none.
        return sorted(found, key=lambda blob: blob.name)[:most]

    async def names_below(self, folder: str) -> AsyncIterator[str]:
        """The names of all blobs below a folder, in any order. Raises `Unavailable`."""
        try:
            async for page in self.store.list(checked(folder), chunk_size=1000):
                for one in page:
                    yield one["path"]
        except (errors().BaseError, OSError) as error:
            raise away(error) from None

    async def folders_in(self, folder: str) -> Sequence[str]:
        """The names of the folders in a folder, and of what a process that was killed has left there."""
        if self.folder is not None:  # also those with nothing but a file that was never finished, which no list shows
            path = self.folder / checked(folder)
            return sorted(f"{folder}/{one.name}" for one in await asyncio.to_thread(entries_of, path) if one.is_dir())
        found = await answered(self.store.list_with_delimiter_async(checked(folder)))
        return sorted(found["common_prefixes"])

    async def delete_folder(self, folder: str) -> None:
        """Delete all blobs below a folder; none is no error. Raises `Unavailable`."""
        if self.folder is not None:
            await asyncio.to_thread(shutil.rmtree, self.folder / checked(folder), ignore_errors=True)
            return
        names = [name async for name in self.names_below(folder)]
        for at in range(0, len(names), 1000):
            with suppress(NotFound):
                await answered(self.store.delete_async(names[at : at + 1000]))

    async def delete(self, name: str) -> None:
        """Delete a blob; none of that name is no error. Raises `Unavailable`."""
        with suppress(NotFound):
            await answered(self.store.delete_async(checked(name)))


def open_blobs(section: BlobsSection, home: Path) -> Blobs:
    """The store of the settings: a folder below `home` by default. A store at a URL is opened at once.

    Raises what the store's library raises for a URL that it does not know.
    """
    if section.url is None:
        folder = home / "blobs"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return Blobs(lambda: folder_store(folder), f"{socket.gethostname()}:{folder}", folder)
    blobs = Blobs(lambda: store_at(section, section.url or ""), section.url)
    _ = blobs.store
    return blobs


def folder_store(folder: Path) -> ObjectStore:
    """The store in a folder of this machine."""
    from obstore.store import LocalStore

    return LocalStore(folder)


def store_at(section: BlobsSection, url: str) -> ObjectStore:
    """The store at a URL."""
    from obstore.store import S3Store, from_url

    if not url.startswith("s3://"):
        return from_url(url)
    options: dict[str, str] = {}
    if section.endpoint is not None:
        options["endpoint"] = section.endpoint
    if section.region is not None:
        options["region"] = section.region
    plain = section.endpoint is not None and section.endpoint.startswith("http://")
    return S3Store.from_url(url, config=options, client_options={"allow_http": plain})  # type: ignore[arg-type]


@cache
def errors() -> ModuleType:
    """The errors of the store's library."""
    from obstore import exceptions

    return exceptions


def entries_of(path: Path) -> list[Path]:
    """What is in a folder; nothing if there is none."""
    with suppress(FileNotFoundError, NotADirectoryError):
        return list(path.iterdir())
    return []


def checked(name: str) -> str:
    """The name, if it is one. Raises `Unprocessable`."""
    if len(name) > MAX_NAME or not NAME.fullmatch(name):
        raise Unprocessable("`key` is no name of a blob", field="key")
    return name


async def answered(work: Awaitable[Result]) -> Result:
    """The store's answer. Raises `NotFound`, `Unavailable`."""
    try:
        return await work
    except (errors().NotFoundError, FileNotFoundError):
        raise NotFound("there is no such blob", hint="List the blobs first.") from None
    except (errors().BaseError, OSError) as error:
        raise away(error) from None


def away(error: Exception) -> Unavailable:
    """The error of a store that cannot be used. Its own words may hold addresses, and stay out."""
    return Unavailable(
        f"the store of blobs does not answer ({type(error).__name__})",
        code="BLOBS_AWAY",
        hint="Check `gateway.blobs` and its credentials.",
        retry_after_s=30,
    )
