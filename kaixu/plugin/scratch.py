"""Private folders of a call, for libraries that work with files. They are gone when the call is."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from kaixu.plugin.errors import TooLarge, Unavailable

#: How often the size of a folder is measured, in seconds.
MEASURED_EVERY_S = 0.5

#: What a file or a folder takes at least: many empty ones take space as well.
LEAST_BYTES = 4096


class Scratch:
    """The folders of one call, below `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._open: set[Path] = set()

    @asynccontextmanager
    async def folder(self, most_bytes: int) -> AsyncIterator[Path]:
        """See `kaixu.plugin.Call.scratch`."""
        if most_bytes < 1:
            raise ValueError("`most_bytes` must be at least 1")
        path = await asyncio.to_thread(make_folder, self._root, most_bytes)
        self._open.add(path)
        task = asyncio.current_task()
        assert task is not None
        cancelling = task.cancelling()
        is_too_large = False

        async def measure() -> None:
            nonlocal is_too_large
            while not is_too_large:
                await asyncio.sleep(MEASURED_EVERY_S)
                is_too_large = await asyncio.to_thread(size_of, path) > most_bytes
            task.cancel()

        measuring = asyncio.ensure_future(measure())
        try:
            yield path
            is_too_large = is_too_large or await asyncio.to_thread(size_of, path) > most_bytes
        except asyncio.CancelledError:
            if is_too_large and task.uncancel() <= cancelling:
                raise too_large(most_bytes) from None
            raise
        finally:
            measuring.cancel()
            await self._remove(path)
        if is_too_large:
            raise too_large(most_bytes)

    async def end(self) -> None:
        """Remove what is still there: folders of blocks that the handler has not left."""
        for path in list(self._open):
            await self._remove(path)

    async def _remove(self, path: Path) -> None:
        self._open.discard(path)
        removing = asyncio.ensure_future(asyncio.to_thread(remove, path))
        try:
            await asyncio.shield(removing)
        except asyncio.CancelledError:
            await asyncio.wait([removing])
            raise


def too_large(most_bytes: int) -> TooLarge:
    """The error for a folder that has grown beyond its limit."""
    return TooLarge(f"the call needs more than {most_bytes} bytes of temporary files")


def make_folder(root: Path, most_bytes: int) -> Path:
    """A new folder that only this user can read. Raises `Unavailable` if the disk has no room for `most_bytes`."""
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    if shutil.disk_usage(root).free < most_bytes:
        raise Unavailable(
            "the gateway has no disk space for the temporary files of this call", hint="Tell your operator."
        )
    return Path(tempfile.mkdtemp(prefix="call-", dir=root))


def size_of(folder: Path) -> int:
    """The bytes of all files below `folder`. Links are not followed."""
    total = 0
    for place, folders, names in os.walk(folder):
        total += LEAST_BYTES * len(folders)
        for name in names:
            with suppress(OSError):  # removed meanwhile
                total += max(LEAST_BYTES, os.lstat(os.path.join(place, name)).st_size)
    return total


def remove(folder: Path) -> None:
    """Remove a folder, read-only ones within it too."""
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        for place, _, _ in os.walk(folder):
            with suppress(OSError):
                os.chmod(place, 0o700)
        shutil.rmtree(folder, ignore_errors=True)
