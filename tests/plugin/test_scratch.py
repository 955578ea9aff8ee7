"""A call's temporary folders: private, bounded, and gone at the end."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

import pytest

from kaixu.gateway.scratch import ScratchFolder
from kaixu.plugin import TooLarge, Unavailable
from kaixu.plugin.scratch import LEAST_BYTES, Scratch, size_of


async def test_a_folder_is_private_and_removed_with_what_is_in_it(tmp_path: Path) -> None:
    async with Scratch(tmp_path / "scratch").folder(10 * LEAST_BYTES) as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
        (folder / "sealed").mkdir()
        (folder / "sealed" / "file").write_bytes(b"x")
        (folder / "sealed").chmod(0o500)
    assert list((tmp_path / "scratch").iterdir()) == []


async def test_it_is_removed_after_an_error_and_a_cancellation(tmp_path: Path) -> None:
    scratch, inside = Scratch(tmp_path), asyncio.Event()

    async def stay() -> None:
        async with scratch.folder(10_000):
            inside.set()
            await asyncio.sleep(3600)

    staying = asyncio.ensure_future(stay())
    await inside.wait()
    staying.cancel()
    await asyncio.wait([staying])
    assert staying.cancelled()
    with pytest.raises(ValueError, match="a bug"):
        async with scratch.folder(10_000):
            raise ValueError("a bug")
    assert list(tmp_path.iterdir()) == []


async def test_a_folder_that_grows_too_large_ends_its_block(tmp_path: Path) -> None:
    async def fill(then_s: float) -> None:
        async with Scratch(tmp_path).folder(9000) as folder:
            (folder / "file").write_bytes(bytes(9001))
            await asyncio.sleep(then_s)

    for then_s in (3600, 0):  # while it waits, and at its end
        with pytest.raises(TooLarge, match="more than 9000 bytes"):
            await fill(then_s)
    assert list(tmp_path.iterdir()) == []


async def test_many_small_files_are_not_free_and_links_are_not_followed(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / str(number)).touch()
    (tmp_path / "link").symlink_to("/proc")
    assert size_of(tmp_path) == 4 * LEAST_BYTES


async def test_a_disk_without_room_refuses_at_once(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no disk space"):
        async with Scratch(tmp_path).folder(1 << 60):
            pass


async def test_what_a_killed_process_has_left_is_swept(tmp_path: Path) -> None:
    left = tmp_path / "scratch" / "call-old" / "deep"
    left.mkdir(parents=True)
    (left / "file").touch()
    os.chmod(left, 0o500)
    mine = ScratchFolder(tmp_path / "scratch", "mine")
    assert [path.name for path in (tmp_path / "scratch").iterdir()] == ["mine.lock"]
    mine.path.mkdir()
    other = ScratchFolder(tmp_path / "scratch", "other")
    assert mine.path.exists()
    mine.close()
    other.close()
    assert list((tmp_path / "scratch").iterdir()) == []


async def test_a_block_that_was_not_left_has_no_folder_after_the_call(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path)
    block = scratch.folder(10_000)
    folder = await block.__aenter__()
    await scratch.end()
    assert not folder.exists()
    await block.__aexit__(None, None, None)
