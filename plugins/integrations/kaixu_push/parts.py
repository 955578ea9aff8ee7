"""`push-upload-chunk` and `push-upload-complete`: a file in parts, in any order, at once and twice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from kaixu.plugin import Body, Call, Database, Failure, Free, Header, Key, Operation, Path, Query, Reply

from .assemble import File, file_key
from .errors import bad, conflict, refused_file
from .expire import Retained
from .options import PushOptions
from .part import Part
from .paths import path_of, sha1_of, whole_number
from .states import parts_prefix
from .uploads import FREE, TIMEOUT_S, Skipped, one, push_of, require_file_size, require_size, stored, with_room

#: The most parts of a file.
MOST_PARTS = 10_000

ANNOUNCE = """
    select outcome, expected, push, parts, reserved_bytes, held_bytes, file_bytes, most_bytes
      from announce_part($1, $2, $3, $4, $5, $6, $7)
"""
QUEUE = "select outcome, expected, push, parts, received from queue_file($1, $2, $3, $4, $5)"


class Chunk(msgspec.Struct):
    push_id: Annotated[str, Path("push_id", "pushId")] = ""
    path: Annotated[str, Query()] = ""
    sha1: Annotated[str, Query()] = ""
    part: Annotated[str, Query()] = ""
    parts: Annotated[str, Query()] = ""
    own_sha1: Annotated[str | None, Header("x-content-sha1")] = None


class Received(msgspec.Struct):
    ok: bool
    pushId: str
    sha1: str
    part: int
    parts: int
    bytes: int


class Complete(msgspec.Struct):
    push_id: Annotated[str, Path("push_id", "pushId")] = ""
    path: Annotated[Any, Body("path")] = None
    sha1: Annotated[Any, Body("sha1")] = None
    parts: Annotated[Any, Body("parts")] = None


class Queued(msgspec.Struct):
    queued: bool
    pushId: str
    sha1: str


async def chunk(call: Call[Chunk]) -> Received | Skipped:
    """Take a part of a file, and keep it until the others are there."""
    push_id, sha1 = push_of(call.body.push_id), sha1_of(call.body.sha1)
    if sha1 is None:
        raise bad("Missing/invalid sha1")
    part, parts = numbers_of(whole_number(call.body.part), whole_number(call.body.parts))
    own_sha1 = None
    if call.body.own_sha1 and (own_sha1 := sha1_of(call.body.own_sha1)) is None:
        raise bad("Missing/invalid X-Content-Sha1")
    path, size = path_of(call.body.path), call.upload.announced_bytes
    options: PushOptions = call.options
    require_file_size(size, options)

    async def announce(db: Database) -> Mapping[str, Any]:
        row = await one(db, ANNOUNCE, call.customer_id, push_id, path, sha1, part, parts, size)
        if row["outcome"] == "OK":
            require_size(size, row["file_bytes"], row, options)
        return row

    row = await with_room(call, push_id, announce)
    if row["outcome"] == "UPLOADED":
        return Skipped(push_id, path, sha1)
    if row["outcome"] != "OK":
        raise refused_file(row["outcome"], path, sha1, row["expected"], row["parts"])
    blob = await stored(call, size, own_sha1)
    retained_s = options.retention_hours * 3600
    async with call.db() as db:
        is_stored = await db.fetchval(
            "select store_part($1, $2, $3, $4, $5, $6)", row["push"], sha1, part, parts, blob.size, blob.digest
        )
        if is_stored:
            # Longer than the file is waited for: the job `expire` decides.
            await db.keep(blob, f"{parts_prefix(push_id, sha1)}{part}", for_s=retained_s * 2 + 86_400)
            await db.enqueue("push.expire", Retained(push_id), key=push_id, delay_s=retained_s)
    if not is_stored:
        raise refused_file("PARTS_CHANGED", path, sha1, None, None)
    return Received(True, push_id, sha1, part, parts, size)


def numbers_of(part: int | None, parts: int | None) -> tuple[int, int]:
    """The number of a part, and how many there are. Raises `Failure`."""
    if part is None:
        raise bad("Invalid part")
    if parts is None or not 1 <= parts <= MOST_PARTS:
        raise bad("Invalid parts")
    if part >= parts:
        raise bad("part must be < parts")
    return part, parts


async def complete(call: Call[Complete]) -> Reply:
    """All parts of a file are there: a job sends them. Saying it again lets a job that waits run now."""
    push_id, sha1 = push_of(call.body.push_id), sha1_of(call.body.sha1)
    if sha1 is None:
        raise bad("Missing/invalid sha1")
    path, parts = path_of(call.body.path), call.body.parts
    if isinstance(parts, bool) or not isinstance(parts, int) or not 1 <= parts <= MOST_PARTS:
        raise bad("Invalid parts")
    async with call.db() as db:
        row = await one(db, QUEUE, call.customer_id, push_id, path, sha1, parts)
        if row["outcome"] == "OK":
            await require_blobs(db, push_id, sha1, parts)
            await db.enqueue("push.assemble", File(push_id, sha1), key=file_key(push_id, sha1))
        elif row["outcome"] == "QUEUED":
            await db.wake("push.assemble", key=file_key(push_id, sha1))
    if row["outcome"] == "UPLOADED":
        return Reply(Skipped(push_id, path, sha1))
    require_parts(row, parts)
    if row["outcome"] not in ("OK", "QUEUED"):
        raise refused_file(row["outcome"], path, sha1, row["expected"], row["parts"])
    return Reply(Queued(True, push_id, sha1), status=202)


async def require_blobs(db: Database, push_id: str, sha1: str, parts: int) -> None:
    """Raises `Failure` unless the store has every part."""
    prefix = parts_prefix(push_id, sha1)
    there = {one.name for one in await db.kept(prefix)}
    received = sum(f"{prefix}{part}" in there for part in range(parts))
    if received < parts:
        raise incomplete(parts, received)


def require_parts(row: Mapping[str, Any], parts: int) -> None:
    """Raises `Failure` where there are no parts, or not all."""
    if row["outcome"] == "JOB_NOT_FOUND":
        raise Failure(404, "JOB_NOT_FOUND", "Job not found", hint="Send its parts first.")
    if row["outcome"] == "PARTS_INCOMPLETE":
        raise incomplete(parts, row["received"])


def incomplete(parts: int, received: int) -> Failure:
    """Not all parts are there."""
    return conflict("PARTS_INCOMPLETE", "Parts are missing", {"expected_parts": parts, "received_parts": received})


PART = Part(
    operations=[
        Operation(
            "push.chunk", chunk, Chunk, FREE, method="PUT", path="/pushes/{push_id}/part",
            aliases=["push-upload-chunk"], auth=Key("deployer"), holds=["gib"], upload=True, timeout_s=TIMEOUT_S,
            key_rates=False,
        ),
        Operation(
            "push.assemble_file", complete, Complete, Free("billed when the push ends"),
            path="/pushes/{push_id}/assemble", aliases=["push-upload-complete"], admission="key", auth=Key("deployer"),
        ),
    ]
)  # fmt: skip
