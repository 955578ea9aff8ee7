"""`push-upload`: a file in one request, hashed here, and sent on to Netlify as a stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any
from uuid import uuid4

import msgspec

from kaixu.plugin import (
    Blob,
    Call,
    Database,
    DigestMismatch,
    Failure,
    Free,
    Header,
    HoldRefused,
    KaixuError,
    Key,
    Operation,
    Path,
    Query,
    Tries,
)

from .errors import bad, refused_file
from .options import PushOptions
from .part import Part
from .paths import path_of, sha1_of
from .states import HELD_S, parts_prefix
from .tokens import netlify_for

FREE = Free("billed when the push ends")

#: Bytes are reserved in steps, so that most uploads leave the customer's account alone.
STEP_BYTES = 64 * 2**20

#: How long a request may take, from when its body is there.
TIMEOUT_S = 1800.0

CLAIM = """
    select outcome, expected, push, deploy_id, site_id, token_source, reserved_bytes, held_bytes, had_parts, most_bytes
      from claim_file($1, $2, $3, $4, $5, $6, $7)
"""
RENEW = """
    update push_file set claimed_until = now() + make_interval(secs => $4)
     where push = $1 and sha1 = $2 and claim = $3 and status = 'uploading'
"""
LEAVE = """
    update push_file set claim = null, claimed_until = null, error = $4, updated_at = now()
     where push = $1 and sha1 = $2 and claim = $3 and status = 'uploading'
"""


class Upload(msgspec.Struct):
    push_id: Annotated[str, Path("push_id", "pushId")] = ""
    path: Annotated[str, Query()] = ""
    sha1: Annotated[str, Header("x-content-sha1")] = ""


class Uploaded(msgspec.Struct):
    ok: bool
    pushId: str
    path: str
    sha1: str
    bytes: int


class Skipped(msgspec.Struct):
    """The file was sent before; this request costs nothing."""

    pushId: str
    path: str
    sha1: str
    ok: bool = True
    skipped: bool = True
    reason: str = "already_uploaded"


async def upload(call: Call[Upload]) -> Uploaded | Skipped:
    """Take a file and send it on. Raises `Failure`; a file that could not be sent stays required."""
    push_id, sha1 = push_of(call.body.push_id), sha1_of(call.body.sha1)
    if sha1 is None:
        raise bad("Missing/invalid X-Content-Sha1")
    path, size, claim = path_of(call.body.path), call.upload.announced_bytes, str(uuid4())
    options: PushOptions = call.options
    require_file_size(size, options)

    async def claim_it(db: Database) -> Mapping[str, Any]:
        row = await one(db, CLAIM, call.customer_id, push_id, path, sha1, size, claim, options.claim_s)
        if row["outcome"] == "OK":
            require_size(size, size, row, options)
            if row["had_parts"]:
                await db.drop(parts_prefix(push_id, sha1))
        return row

    row = await with_room(call, push_id, claim_it)
    if row["outcome"] == "UPLOADED":
        return Skipped(push_id, path, sha1)
    if row["outcome"] != "OK":
        raise refused_file(row["outcome"], path, sha1, row["expected"])
    async with kept_claim(call, row["push"], sha1, claim) as sending:
        blob = await stored(call, size, sha1)
        netlify = await netlify_for(call, row["site_id"], row["token_source"])
        await require_claim(call, row["push"], sha1, claim, path)
        sending.set()
        await netlify.put(row["deploy_id"], path, [blob], Tries(5, first_wait_s=options.first_wait_s, most_wait_s=15))
        async with call.db() as db:
            await db.fetchval("select finish_file($1, $2, $3)", row["push"], sha1, size)
    return Uploaded(True, push_id, path, sha1, size)


@asynccontextmanager
async def kept_claim(call: Call[Any], push: int, sha1: str, claim: str) -> AsyncIterator[asyncio.Event]:
    """Keep the claim of a file while the block runs; a block that fails gives the file back, which stays required.

    The block sets the event before it sends: what Netlify has not refused then may have arrived.
    """
    lease_s = call.options.claim_s
    sending = asyncio.Event()
    may_have_arrived = True

    async def renew() -> None:
        while True:
            await asyncio.sleep(lease_s / 3)
            with suppress(KaixuError):  # the claim ends, and then the request does before it sends
                async with call.db() as db:
                    await db.execute(RENEW, push, sha1, claim, lease_s)

    renewing = asyncio.ensure_future(renew())
    reason = "the client has left"
    try:
        yield sending
        reason = ""
    except KaixuError as error:
        reason, may_have_arrived = error.message, error.code != "NETLIFY_API"
        raise
    finally:
        renewing.cancel()
        await asyncio.wait([renewing])
        if reason and sending.is_set() and may_have_arrived:
            await leave(call, push, sha1, claim, reason)
        elif reason:
            await unclaim(call, push, sha1, claim, reason)


async def stored(call: Call[Any], most_bytes: int, sha1: str | None) -> Blob:
    """The body of the request, hashed. Raises `Failure` for another digest."""
    try:
        return await call.upload.store(most_bytes=most_bytes, hash="sha1", digest=sha1)
    except DigestMismatch as error:
        figures = error.figures
        raise Failure(
            400, "SHA1_MISMATCH", "SHA1 mismatch",
            fields={"expected": figures.get("expected", sha1), "got": figures.get("got")},
        ) from None  # fmt: skip


async def require_claim(call: Call[Any], push: int, sha1: str, claim: str, path: str) -> None:
    """Raises `Failure` where the file is another request's now, because this one could not keep it."""
    async with call.db() as db:
        if await db.execute(RENEW, push, sha1, claim, call.options.claim_s) != "UPDATE 1":
            raise refused_file("BUSY", path, sha1, None)


async def leave(call: Call[Any], push: int, sha1: str, claim: str, reason: str) -> None:
    """Give a file back that Netlify may have: its bytes stay reserved, and are billed if it does not require them."""
    async with call.db() as db:
        await db.execute(LEAVE, push, sha1, claim, reason[:500])


async def unclaim(call: Call[Any], push: int, sha1: str, claim: str, reason: str) -> None:
    """Give a file back that was not sent."""
    async with call.db() as db:
        await db.fetchval("select unclaim_file($1, $2, $3, $4)", push, sha1, claim, reason[:500])


async def one(db: Database, sql: str, *args: Any) -> Mapping[str, Any]:
    """The row of a function that returns one."""
    row = await db.fetchrow(sql, *args)
    assert row is not None
    return row


async def with_room(
    call: Call[Any], push_id: str, reserve: Callable[[Database], Awaitable[Mapping[str, Any]]]
) -> Mapping[str, Any]:
    """Reserve bytes in the push's row, and hold them in the book: in steps, or exactly where a step has no room.

    Raises what `reserve` raises, and `HoldRefused`, the book's refusal.
    """
    for is_exact in (False, True):
        try:
            async with call.db() as db:
                row = await reserve(db)
                needed = row["reserved_bytes"]
                if row["outcome"] == "OK" and needed > row["held_bytes"]:
                    units = needed if is_exact else -(-needed // STEP_BYTES) * STEP_BYTES
                    await db.hold("gib", key=push_id, units=units, for_s=HELD_S)
                    await db.execute("update push set held_bytes = $2 where id = $1", row["push"], units)
            return row
        except HoldRefused:
            if is_exact:
                raise
    raise AssertionError("the second round returns or raises")


def require_size(size: int, file_bytes: int, row: Mapping[str, Any], options: PushOptions) -> None:
    """Raises `Failure` for a file, or a push, that is larger than allowed."""
    most = min(options.most_push_bytes, row["most_bytes"] or options.most_push_bytes)
    require_file_size(max(size, file_bytes), options)
    if row["reserved_bytes"] > most:
        raise Failure(
            413, "PUSH_TOO_LARGE", f"A push to this project has at most {most} bytes", fields={"most_bytes": most}
        )


def require_file_size(size: int, options: PushOptions) -> None:
    """Raises `Failure` for a file that is larger than allowed; a length may be more than a column holds."""
    if size > options.most_file_bytes:
        raise Failure(
            413, "FILE_TOO_LARGE", f"A file has at most {options.most_file_bytes} bytes",
            fields={"most_bytes": options.most_file_bytes},
        )  # fmt: skip


def push_of(text: str) -> str:
    """The id of a push. Raises `Failure` where there is none."""
    if not text.strip():
        raise bad("Missing pushId")
    return text.strip()[:200]


PART = Part(
    operations=[
        Operation(
            "push.upload", upload, Upload, FREE, method="PUT", path="/pushes/{push_id}/file",
            aliases=["push-upload"], auth=Key("deployer"), holds=["gib"], upload=True, timeout_s=TIMEOUT_S,
            key_rates=False,
        )
    ]
)  # fmt: skip
