"""Blobs in a folder: whole or not at all, listed in order, and never outside the folder."""

from __future__ import annotations

from pathlib import Path

import pytest

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


@pytest.mark.parametrize(
    "name", ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/.hidden", "a\x00b", "a" * 501, "ä"]
)
async def test_names_that_are_none(blobs: Blobs, name: str) -> None:
    with pytest.raises(Unprocessable):
        await blobs.put(name, b"")
    with pytest.raises(Unprocessable):
        await blobs.get(name)
