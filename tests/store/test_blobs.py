"""Blobs in a folder: whole or not at all, listed in order, and never outside the folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from obstore.store import MemoryStore

from kaixu.config.gateway_section import BlobsSection
from kaixu.plugin.errors import NotFound, Unprocessable
from kaixu.store.blobs import Blobs, open_blobs


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    """A store in a folder."""
    return open_blobs(BlobsSection(), tmp_path)


async def test_put_get_list_delete(blobs: Blobs) -> None:
    for name in ("a/2.txt", "a/1.txt", "b/1.txt", "a/10.txt"):
        await blobs.put(name, name.encode())
    assert await blobs.get("a/1.txt") == b"a/1.txt"
    assert b"".join([piece async for piece in blobs.stream("b/1.txt")]) == b"b/1.txt"
    await blobs.put("a/1.txt", b"again")
    assert await blobs.get("a/1.txt") == b"again"
    assert [one.name for one in await blobs.list("a/")] == ["a/1.txt", "a/10.txt", "a/2.txt"]
    assert [one.name for one in await blobs.list("a/1")] == ["a/1.txt", "a/10.txt"]
    assert [one.name for one in await blobs.list("", most=1)] == ["a/1.txt"]
    assert [one.name for one in await blobs.list("a/", after="a/10.txt")] == ["a/2.txt"]
    await blobs.delete("a/1.txt")
    await blobs.delete("a/1.txt")
    with pytest.raises(NotFound):
        await blobs.get("a/1.txt")


@pytest.mark.parametrize("is_folder", [True, False], ids=["folder", "object store"])
async def test_folders_are_listed_and_deleted_as_a_whole(blobs: Blobs, is_folder: bool) -> None:
    store = blobs if is_folder else Blobs(MemoryStore, "memory")
    for name in ("up/aa/1/00", "up/aa/1/01", "up/aa/2/00", "up/ab/3/00"):
        await store.put(name, b"x")
    assert sorted([name async for name in store.names_below("up/aa")]) == ["up/aa/1/00", "up/aa/1/01", "up/aa/2/00"]
    assert await store.folders_in("up/aa") == ["up/aa/1", "up/aa/2"]
    await store.delete_folder("up/aa/1")
    await store.delete_folder("up/aa/1")
    assert await store.folders_in("up/aa") == ["up/aa/2"]
    assert await store.folders_in("up/zz") == []
    assert [name async for name in store.names_below("up/zz")] == []
    assert [await store.put_new("up/mark", data) for data in (b"1", b"2")] == [True, False]
    assert await store.get("up/mark") == b"1"


async def test_what_was_never_finished_is_found_in_a_folder(blobs: Blobs) -> None:
    assert blobs.folder is not None
    (blobs.folder / "up" / "aa" / "1").mkdir(parents=True)
    (blobs.folder / "up" / "aa" / "1" / "00#1").write_bytes(b"x")  # as a killed process leaves it
    assert await blobs.folders_in("up/aa") == ["up/aa/1"]
    await blobs.delete_folder("up/aa/1")
    assert await blobs.folders_in("up/aa") == []


@pytest.mark.parametrize(
    "name", ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/.hidden", "a\x00b", "a" * 501, "ä"]
)
async def test_names_that_are_none(blobs: Blobs, name: str) -> None:
    with pytest.raises(Unprocessable):
        await blobs.put(name, b"")
    with pytest.raises(Unprocessable):
        await blobs.get(name)
