"""Large pushes: how long they take in the gateway, and how much memory."""

from __future__ import annotations

import asyncio
import random
import time
from datetime import datetime
from pathlib import Path

import psutil

from tests.support.size import size

from .pusher import Pusher, names, zipped

MIB = 1 << 20

OPTIONS = "most_total_bytes: 300000000\n    most_zip_bytes: 300000000"


async def test_three_thousand_files_in_an_empty_repository_are_one_commit(ada: Pusher) -> None:
    count = size(1000, 3000)
    began = time.monotonic()
    job = await ada.push({name: f"{name}\n" * 40 for name in names(count)}, parts=4)
    took_s = time.monotonic() - began
    assert job["status"] == "done", job
    assert len(ada.server.files(ada.repo)) == count
    assert len(ada.server.log(ada.repo)) == 1
    ada.server.check(ada.repo)
    row = await ada.pool.fetchrow(
        "select queued_at, updated_at, files from kaixu_github.push where job_id = $1", job["jobId"]
    )
    assert row is not None
    assert row["files"] == count
    pushed_s = (row["updated_at"] - row["queued_at"]).total_seconds()
    report(f"{count} files: {pushed_s:.2f} s from the queue to the branch, {took_s:.2f} s with the upload")


async def test_a_large_zip_does_not_fill_the_memory(ada: Pusher) -> None:
    """Random bytes, so that the ZIP and the pack are as large as the files."""
    mib = size(20, 50)
    noise = random.Random(ada.id)
    data = zipped({f"part{at}.bin": noise.randbytes(MIB) for at in range(mib)})
    gateway = ada.gateway
    assert gateway.process is not None
    watched = psutil.Process(gateway.process.pid)
    before, most = memory_of(watched), 0
    is_over = asyncio.Event()

    async def watch() -> None:
        nonlocal most
        while not is_over.is_set():
            most = max(most, memory_of(watched))
            await asyncio.sleep(0.02)

    watching = asyncio.ensure_future(watch())
    job = await ada.push(data, parts=-(-len(data) // (4 * MIB)))
    is_over.set()
    await watching
    assert job["status"] == "done", job
    assert len(ada.server.files(ada.repo)) == mib
    grown = (most - before) / MIB
    report(f"{mib} MiB: the gateway grew by {grown:.0f} MiB, from {before / MIB:.0f} MiB")
    assert grown < 150
    assert (await ada.blobs(), scratch_of(gateway.home)) == (0, [])


def memory_of(process: psutil.Process) -> int:
    """What a process and its children have of the memory."""
    return int(process.memory_info().rss)


def scratch_of(home: Path) -> list[Path]:
    """Temporary files of calls that are left."""
    return [path for path in home.rglob("call-*") if path.is_dir()]


def report(words: str) -> None:
    """For bench/GITHUB.md: `pytest -s`."""
    print(f"{datetime.now():%H:%M:%S} {words}")
