"""An integration that stores files, for tests of uploads: `written(folder)` and its section `CONFIG`."""

from __future__ import annotations

from pathlib import Path

PLUGIN = """
import asyncio
from pathlib import Path
from typing import Annotated
from uuid import UUID
import httpx
import msgspec
from kaixu.plugin import (
    Again, Blob, Bytes, Failure, Free, Integration, Job, Operation, Operator, Options, PerUnit, Query, Retry, Tries,
    WireUrl, hookimpl,
)

NAME = "parcels"
SCHEMA = "tables"

class FilesOptions(Options):
    vendor: WireUrl = "http://127.0.0.1:9"

class Put(msgspec.Struct):
    name: str = ""
    hash: str = "sha256"
    digest: str | None = None
    most: int = 1 << 40
    then: str = ""

class Stored(msgspec.Struct):
    blob: Blob

class Named(msgspec.Struct):
    name: str = ""
    to: str = ""
    start: int = 0
    end: int | None = None

class Which(msgspec.Struct):
    id: str
    size: int
    name: str = ""

class Names(msgspec.Struct):
    names: list[str]
    bytes: list[int] = []

class Payload(msgspec.Struct):
    then: str
    files: dict[str, list[Blob]]

class Said(msgspec.Struct):
    said: str = ""

OLD = []
STRAY = set()

async def put(call):
    what = call.body
    if what.then == "refuse":
        raise Failure(409, "NOT_REQUIRED", "this file is not needed", fields={"bytes": call.upload.announced_bytes})
    if what.then == "ignore":
        return Said(str(call.upload.announced_bytes))
    if what.then == "stray":
        STRAY.add(asyncio.ensure_future(call.upload.store(most_bytes=what.most)))
        await asyncio.sleep(0)
        return Said("it goes on")
    blob = await call.upload.store(most_bytes=what.most, hash=what.hash, digest=what.digest)
    if what.then == "remember":
        OLD.append((call, blob))
    if what.then == "again":
        await call.upload.store(most_bytes=what.most)
    if what.then == "wait":
        await asyncio.sleep(3600)
    if what.name:
        async with call.db() as db:
            await db.keep(blob, what.name, for_s=3600)
            if what.then == "change mind":
                raise Failure(409, "CHANGED", "changed its mind")
    if what.then in ("job", "fail", "poll"):
        await call.enqueue(NAME + ".work", Payload(what.then, {"a": [blob]}))
    return Stored(blob)

async def work(call):
    [blob] = call.body.files["a"]
    if call.body.then == "poll" and call.attempt == 1:
        async with call.db() as db:
            waiting = await db.kept("go")
        if waiting:
            raise Again(0.1)
    data = b"".join([piece async for piece in call.chunks(blob)])
    if call.body.then == "fail":
        raise Failure(500, "FAILED", "the job fails")
    return Said(str(len(data)))

async def buried(call):
    async with call.db() as db:
        await db.keep(call.body.files["a"][0], "saved by on_failed", for_s=3600)

async def names(call):
    async with call.db() as db:
        kept = await db.kept(call.body.name)
    return Names([one.name for one in kept], [one.blob.size for one in kept])

async def drop(call):
    async with call.db() as db:
        return Said(str(await db.drop(call.body.name)))

async def found(call):
    async with call.db() as db:
        return (await db.kept(call.body.name))[0].blob

async def get(call):
    blob = await found(call)
    return Bytes(b"".join([piece async for piece in call.chunks(blob, call.body.start, call.body.end)]),
                 "application/octet-stream", "file")

async def save(call):
    async with call.db() as db:
        blobs = [one.blob for one in await db.kept(call.body.name)]
    async with call.scratch(1 << 32) as folder:
        size = await call.save(blobs, folder / "whole")
        return Said(f"{size} {(folder / 'whole').stat().st_size}")

async def send(call):
    async with call.db() as db:
        blobs = [one.blob for one in await db.kept(call.body.name)]
    url = call.body.to or call.options.vendor
    request = httpx.Request("PUT", url, content=call.wire.body(blobs))
    async with call.wire.send(request, tries=Tries(4, on={503}, first_wait_s=0.01)) as answer:
        return Said((await answer.aread()).decode())

async def send_blocking(call):
    blob = await found(call)
    request = httpx.Request("PUT", call.options.vendor, stream=call.wire.body(blob))
    answer = await call.in_thread(call.wire.blocking().send, request)
    return Said(answer.text)

async def steal(call):
    blob = Blob(UUID(call.body.id), call.body.size, "sha256", "")
    async with call.db() as db:
        if call.body.name == "keep":
            await db.keep(blob, "stolen", for_s=60)
        elif call.body.name == "job":
            await db.enqueue(NAME + ".work", Payload("", {"a": [blob]}))
        elif call.body.name == "send":
            async with call.wire.send(httpx.Request("PUT", call.options.vendor, stream=call.wire.body(blob))) as answer:
                return Said((await answer.aread()).decode())
    return Said(str(len([piece async for piece in call.chunks(blob)])))

async def use_old(call):
    old, blob = OLD.pop()
    async def read():
        return [piece async for piece in old.chunks(blob)]
    async def send():
        async with old.wire.send(httpx.Request("PUT", call.options.vendor, stream=old.wire.body(blob))):
            pass
    async def send_theirs():
        async with call.wire.send(httpx.Request("PUT", call.options.vendor, stream=old.wire.body(blob))):
            pass
    raised = []
    for what in (read, lambda: old.upload.store(most_bytes=1 << 40), lambda: old.save(blob, Path("x")), send,
                 send_theirs, lambda: old.begin("nothing")):
        try:
            await what()
            raised.append("none")
        except Exception as error:
            raised.append(type(error).__name__)
    return Names(raised)

@hookimpl
def register_integrations(register):
    free = Free("a test")
    register(Integration(NAME, options=FilesOptions, schema=SCHEMA, operations=[
        Operation(NAME + ".put", put, Put, free, method="PUT", upload=True, aliases=[NAME + "-put"]),
        Operation(NAME + ".paid", put, Put, PerUnit("byte", unit="bytes_in", most=1 << 20), upload=True,
                  on_failure="charge_counted"),
        Operation(NAME + ".quick", put, Put, free, upload=True, timeout_s=2),
        Operation(NAME + ".operators", put, Put, free, upload=True, auth=Operator()),
        Operation(NAME + ".use-old", use_old, Named, free),
        Operation(NAME + ".names", names, Named, free),
        Operation(NAME + ".drop", drop, Named, free),
        Operation(NAME + ".get", get, Named, free, method="GET"),
        Operation(NAME + ".save", save, Named, free, timeout_s=600),
        Operation(NAME + ".send", send, Named, PerUnit("byte", unit="bytes_sent", most=1 << 28), on_failure="charge_counted"),
        Operation(NAME + ".send-blocking", send_blocking, Named, free),
        Operation(NAME + ".steal", steal, Which, free),
    ], jobs=[Job(NAME + ".work", work, Payload, free, retry=Retry(attempts=1), on_failed=buried)]))
"""

SECTIONS = """
integrations:
  parcels: {{plugin: ./parcels, vendor: "{vendor}", price: {{byte: 0.000001}}}}
  boxes: {{plugin: ./boxes, vendor: "{vendor}", price: {{byte: 0.000001}}}}
"""


def written(folder: Path) -> None:
    """Two integrations: `parcels`, with tables of its own, and `boxes`, without."""
    (folder / "parcels" / "tables").mkdir(parents=True, exist_ok=True)
    (folder / "parcels" / "__init__.py").write_text(PLUGIN)
    (folder / "parcels" / "tables" / "0001_notes.sql").write_text("create table note (words text);")
    (folder / "boxes").mkdir(exist_ok=True)
    (folder / "boxes" / "__init__.py").write_text(
        PLUGIN.replace('NAME = "parcels"', 'NAME = "boxes"').replace('SCHEMA = "tables"', "SCHEMA = None")
    )
