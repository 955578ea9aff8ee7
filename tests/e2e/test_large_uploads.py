"""A large upload: the gateway's memory stays, its digest is right, and one whose gateway is killed leaves nothing."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import asyncpg
import psutil

from kaixu.config.gateway_section import BlobsSection
from kaixu.ops.frames import FRAME_BYTES
from kaixu.store.blob_files import BlobFiles
from kaixu.store.blob_sweep import BlobSweep
from kaixu.store.blobs import open_blobs
from tests.support.files_plugin import SECTIONS, written
from tests.support.money import assert_books_balance, customer, virtual_key
from tests.support.process import Process
from tests.support.size import size

MIB = 1024 * 1024
#: The size of the upload, and how much the gateway's memory may grow meanwhile.
BYTES = size(96 * MIB, 2048 * MIB)
MOST_GROWTH = 50 * MIB
CONFIG = f"gateway: {{{{blob_bytes_per_customer: {4096 * MIB}, reservation_s: 2}}}}{SECTIONS}".format(
    vendor="http://127.0.0.1:9"
)


def block(number: int) -> bytes:
    """One MiB of the file."""
    return hashlib.sha512(number.to_bytes(8, "big")).digest() * (MIB // 64)


async def pieces(
    count: int, digest: hashlib._Hash, highest: list[int], process: psutil.Process
) -> AsyncIterator[bytes]:
    """The file, while the gateway's memory is measured."""
    for number in range(count):
        data = block(number)
        digest.update(data)
        yield data
        highest.append(process.memory_info().rss)


async def test_a_large_upload_takes_little_memory_and_a_killed_one_leaves_nothing(
    tmp_path: Path, dsn: str, http: aiohttp.ClientSession, pool: asyncpg.Pool
) -> None:
    home = tmp_path / "gateway"
    home.mkdir()
    written(home)
    gateway = await Process(home, dsn, CONFIG).start()
    key = (await virtual_key(pool, await customer(pool)))[1]
    headers = {"authorization": f"Bearer {key}"}
    url = f"{gateway.url}/v1/parcels/put"
    assert gateway.process is not None
    process = psutil.Process(gateway.process.pid)

    async def put(length: int, **query: str) -> tuple[int, dict[str, object], str, list[int]]:
        digest, highest = hashlib.sha1(usedforsecurity=False), [0]
        body = pieces(length // MIB, digest, highest, process)
        sent = headers | {"content-length": str(length)}
        timeout = aiohttp.ClientTimeout(total=None)
        async with http.put(url, data=body, params=query | {"hash": "sha1"}, headers=sent, timeout=timeout) as answer:
            return answer.status, await answer.json(), digest.hexdigest(), highest

    assert (await put(8 * MIB))[0] == 200  # so that everything is imported
    before = process.memory_info().rss
    status, reply, digest, highest = await put(BYTES, name="large")
    assert status == 200, reply
    assert reply["blob"]["digest"] == digest  # type: ignore[index]
    growth = max(highest) - before
    print(f"{BYTES >> 20} MiB: the gateway's memory grew by {growth / MIB:.1f} MiB")
    assert growth < MOST_GROWTH

    # It is read in the same way.
    before = process.memory_info().rss
    saving = asyncio.ensure_future(http.post(f"{gateway.url}/v1/parcels/save", json={"name": "large"}, headers=headers))
    growth = 0
    while not saving.done():
        growth = max(growth, process.memory_info().rss - before)
        await asyncio.sleep(0.02)
    answer = await saving
    assert await answer.json() == {"said": f"{BYTES} {BYTES}"}
    print(f"it was read with {growth / MIB:.1f} MiB")
    assert growth < MOST_GROWTH

    # One in the middle of which the gateway is killed.
    async with asyncio.timeout(60):  # those of the first one are being removed
        while len(kept := stored(home)) > -(-BYTES // FRAME_BYTES):
            await asyncio.sleep(0.05)
    assert len(kept) == -(-BYTES // FRAME_BYTES)
    half = asyncio.ensure_future(put(BYTES))
    async with asyncio.timeout(60):
        while len(stored(home)) < len(kept) + 3:
            await asyncio.sleep(0.005)
    gateway.kill()
    await asyncio.wait([half])
    assert isinstance(half.exception(), aiohttp.ClientError)
    assert stored(home) > kept
    await gateway.start()
    await pool.execute(
        "update kaixu.blob set expires_at = now() where name is null"
    )  # its lease of two minutes is over
    sweep = BlobSweep(BlobFiles(open_blobs(BlobsSection(), home), lambda: pool), lambda: pool)
    await sweep.round()
    await sweep.search()
    assert stored(home) == kept
    assert await pool.fetchval("select count(*) from kaixu.blob") == 1
    async with asyncio.timeout(60):
        while await pool.fetchval("select count(*) from kaixu.reservation where expires_at > now()"):
            await asyncio.sleep(0.1)
    assert await gateway.stop() == 0
    await assert_books_balance(pool, reservations=None)


def stored(home: Path) -> set[Path]:
    """All files of blobs, unfinished ones too."""
    # `os.walk` passes over folders that are removed meanwhile.
    walked = os.walk(home / "blobs" / "uploads")
    return {Path(folder) / name for folder, _, names in walked for name in names if name != "store"}
