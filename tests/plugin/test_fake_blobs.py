"""The kit's uploads and blobs behave as the gateway's do, as far as a test of a plugin sees it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from kaixu.plugin import (
    Blob,
    DigestMismatch,
    Free,
    HostNotDeclared,
    Integration,
    Job,
    NotFound,
    Operation,
    TicketClosed,
    TooLarge,
    Tries,
)
from kaixu.plugin.blob import blobs_in
from kaixu.plugin.testing import FakeCall, FakeWire, json_answer, run


class Nothing(msgspec.Struct):
    pass


class Work(msgspec.Struct):
    parts: dict[str, list[Blob]]


async def put(call: Any) -> Nothing:
    blob = await call.upload.store(most_bytes=100, hash="sha1")
    async with call.db() as db:
        await db.keep(blob, "a", for_s=60)
        await db.enqueue("box.work", Work({"x": [blob]}))
    return Nothing()


async def work(call: Any) -> Nothing:
    request = httpx.Request("PUT", "https://vendor.example/x", content=call.wire.body(blobs_in(call.body)))
    async with call.wire.send(request, tries=Tries(3, first_wait_s=0.01)):
        return Nothing()


BOX = Integration(
    "box",
    [Operation("box.put", put, Nothing, Free("a test"), upload=True)],
    jobs=[Job("box.work", work, Work, Free("a test"))],
    hosts=["vendor.example"],
)


async def test_an_upload_is_stored_and_kept() -> None:
    call = FakeCall(Nothing(), upload=b"abc")
    await run(BOX, "box.put", call)
    kept = call.blobs.kept["a"]
    assert (kept.blob.size, kept.blob.digest) == (3, hashlib.sha1(b"abc", usedforsecurity=False).hexdigest())
    assert call.blobs.contents[kept.blob.id] == b"abc"
    assert call.counted["bytes_in"] == 3
    [(job, payload)] = call.jobs
    assert (job, blobs_in(payload)) == ("box.work", [kept.blob])


async def test_what_the_gateway_refuses_is_refused() -> None:
    with pytest.raises(TooLarge):
        await run(BOX, "box.put", FakeCall(Nothing(), upload=b"x" * 101))
    with pytest.raises(ValueError, match="upload=True"):
        await run(BOX, "box.put", FakeCall(Nothing()))
    call = FakeCall(upload=b"abc", kept={"a/1": b"1", "a/2": b"2", "b": b"3"})
    with pytest.raises(DigestMismatch):
        await call.upload.store(most_bytes=10, digest="0" * 64)
    with pytest.raises(ValueError, match="already"):
        await call.upload.store(most_bytes=10)
    async with call.db() as db:
        assert [one.name for one in await db.kept("a/")] == ["a/1", "a/2"]
        assert await db.drop("a/") == 2
        with pytest.raises(NotFound):
            await db.keep(Blob(call.job_id, 1, "sha256", ""), "x", for_s=1)
        with pytest.raises(ValueError, match="kept"):
            await db.keep(call.blobs.kept["b"].blob, "x", for_s=0)
    blob = call.blobs.kept["b"].blob
    call.close()
    with pytest.raises(TicketClosed):
        call.chunks(blob)
    with pytest.raises(ValueError, match="no customer"):
        FakeCall(customer_id=None).chunks(blob)


async def test_blobs_are_read_and_sent_again_for_each_try(tmp_path: Path) -> None:
    call = FakeCall(wire=FakeWire(json_answer({}, 503), json_answer({})))
    first, second = call.blobs.add(b"abc"), call.blobs.add(b"de")
    call.body = Work({"x": [first, second]})
    assert b"".join([piece async for piece in call.chunks(first, 1, 2)]) == b"b"
    assert await call.save([first, second], tmp_path / "whole") == 5
    assert (tmp_path / "whole").read_bytes() == b"abcde"
    await run(BOX, "box.work", call)
    assert [sorted(one.content) for one in call.wire.requests] == [sorted(b"abcde")] * 2
    assert call.wire.requests[0].headers["content-length"] == "5"
    assert call.counted["bytes_sent"] == 5


async def test_blobs_go_to_declared_hosts_only() -> None:
    call = FakeCall(wire=FakeWire(json_answer({})))
    call.body = Work({"x": [call.blobs.add(b"abc")]})
    with pytest.raises(HostNotDeclared):
        await run(Integration("box", [], jobs=BOX.jobs, hosts=["other.example"]), "box.work", call)
