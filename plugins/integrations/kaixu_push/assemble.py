"""The job that sends a file in parts: hashed as a whole, sent as one stream, tried until it is clear how it ends."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from kaixu.plugin import Again, Blob, Call, Database, FailedCall, Failure, Free, Job, NotFound, Retry, Tries

from .netlify import Netlify
from .options import PushOptions
from .part import Part
from .states import find_push, note, parts_prefix
from .tokens import netlify_for

#: Statuses of Netlify after which a file may be sent again; of all others only 5xx and none at all.
LATER = frozenset({429, 502, 503, 504})


class File(msgspec.Struct):
    """Which file it is."""

    push_id: str
    sha1: str


class Ended(msgspec.Struct):
    """What became of it."""

    push_id: str
    sha1: str
    status: str


def file_key(push_id: str, sha1: str) -> str:
    """The key of a file's job."""
    return f"{push_id}:{sha1}"


async def assemble(call: Call[File]) -> Ended:
    """Send a file, unless Netlify has it. Raises `Again` after a failure that may pass."""
    push_id, sha1 = call.body.push_id, call.body.sha1
    async with call.db() as db:
        row = await db.fetchrow("select * from start_file($1, $2, $3)", call.customer_id, push_id, sha1)
        push = await find_push(db, call.customer_id, push_id)
        if row is None or push is None or row["outcome"] in ("GONE", "NOT_QUEUED", "UPLOADED"):
            return Ended(push_id, sha1, "gone" if row is None else row["outcome"].lower())
        if row["outcome"] == "PUSH_ENDED":
            return await fail(db, row, call.body, "The push has ended")
        kept = {one.name: one.blob for one in await db.kept(parts_prefix(push_id, sha1))}
        blobs = [kept.get(f"{parts_prefix(push_id, sha1)}{part}") for part in range(row["parts"])]
        there = [blob for blob in blobs if blob is not None]
        if len(there) < len(blobs):
            return await fail(db, row, call.body, "Parts are missing: send them again")
    try:
        if await digest_of(call, there) != sha1:
            async with call.db() as db:
                await db.drop(parts_prefix(push_id, sha1))
                await db.execute("update push_file set parts = null where push = $1 and sha1 = $2", row["push"], sha1)
                return await fail(db, row, call.body, "SHA1 mismatch: the parts make another file")
        netlify = await netlify_for(call, row["site_id"], row["token_source"])
        if row["was_started"] and await was_received(call, netlify, push, sha1):
            async with call.db() as db:
                return await finish(db, row, call.body)
        tries = Tries(call.options.upload_tries, first_wait_s=call.options.first_wait_s, most_wait_s=60)
        await netlify.put(row["deploy_id"], row["deploy_path"], there, tries)
    except Failure as error:
        return await again_or_fail(call, row, error)
    except NotFound:  # a part was removed meanwhile
        async with call.db() as db:
            return await fail(db, row, call.body, "Parts are missing: send them again")
    async with call.db() as db:
        return await finish(db, row, call.body)


async def was_received(call: Call[File], netlify: Netlify, push: Mapping[str, Any], sha1: str) -> bool:
    """Whether Netlify got the file although its answer was lost: it does not require it any more."""
    deploy, _ = await netlify.deploy(push["site_id"], push["deploy_id"])
    await note(call, push, deploy)
    async with call.db() as db:
        status = await db.fetchval("select status from push_file where push = $1 and sha1 = $2", push["id"], sha1)
    return bool(status == "done")


async def digest_of(call: Call[File], blobs: list[Blob]) -> str:
    """The SHA-1 of blobs one after another. One alone was hashed when it came."""
    if len(blobs) == 1 and blobs[0].hash == "sha1":
        return blobs[0].digest
    digest = hashlib.sha1(usedforsecurity=False)
    for blob in blobs:
        async for piece in call.chunks(blob):
            digest.update(piece)
    return digest.hexdigest()


async def finish(db: Database, row: Mapping[str, Any], file: File) -> Ended:
    """Netlify has the file; its parts go."""
    await db.fetchval("select finish_file($1, $2, $3)", row["push"], file.sha1, row["bytes"] or 0)
    await db.drop(parts_prefix(file.push_id, file.sha1))
    return Ended(file.push_id, file.sha1, "done")


async def fail(db: Database, row: Mapping[str, Any], file: File, reason: str) -> Ended:
    """The file has failed for good. Its parts wait for the client, who may complete it again."""
    await db.execute(
        "update push_file set status = 'error', error = $3, attempts = attempts + 1, next_attempt_at = null, "
        "updated_at = now() where push = $1 and sha1 = $2 and status <> 'done'",
        row["push"], file.sha1, reason[:500],
    )  # fmt: skip
    return Ended(file.push_id, file.sha1, "error")


async def again_or_fail(call: Call[File], row: Mapping[str, Any], error: Failure) -> Ended:
    """After a failure that may pass: later, with a growing pause, or what Netlify has asked for. Raises `Again`."""
    options: PushOptions = call.options
    attempts = row["attempts"] + 1
    is_final = error.code != "NETLIFY_FETCH" and error.status != 429
    if is_final or attempts >= options.attempts:
        async with call.db() as db:
            return await fail(db, row, call.body, error.message)
    wait_s = max(float(error.retry_after_s or 0), options.first_wait_s * 2.0 ** min(attempts, 20))
    wait_s = min(wait_s, max(options.most_wait_s, float(error.retry_after_s or 0)), 86_400.0)
    async with call.db() as db:
        await db.execute(
            "update push_file set status = $3, error = $4, attempts = $5, updated_at = now(), "
            "next_attempt_at = now() + make_interval(secs => $6) where push = $1 and sha1 = $2 and status <> 'done'",
            row["push"], call.body.sha1, "retry_wait" if error.status == 429 else "error_transient",
            error.message[:500], attempts, wait_s,
        )  # fmt: skip
    raise Again(wait_s)


async def failed(call: FailedCall[File]) -> None:
    """The job has ended without the file: it says why."""
    async with call.db() as db:
        await db.execute(
            "update push_file f set status = 'error', error = $4, next_attempt_at = null, updated_at = now() "
            "from push p where p.id = f.push and p.customer_id = $1 and p.push_id = $2 and f.sha1 = $3 "
            "and f.status not in ('done', 'expired', 'waiting', 'uploading')",
            call.customer_id, call.body.push_id, call.body.sha1, f"It could not be sent ({call.error})",
        )  # fmt: skip


PART = Part(
    jobs=[
        Job(
            "push.assemble", assemble, File, Free("billed when the push ends"), retry=Retry(10, 2, 300),
            timeout_s=3600, on_failed=failed, at_once=5,
        )
    ]
)  # fmt: skip
