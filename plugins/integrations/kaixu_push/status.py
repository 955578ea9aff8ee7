"""`push-status`, `push-file-status`, `push-complete` and the cancelling of a push."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from kaixu.plugin import Body, Call, Database, Failure, Key, Operation, Path, Query, Reply

from .errors import bad, conflict, no_push
from .options import PushOptions
from .part import Part
from .paths import sha1_of
from .shapes import FileView, PushView, written, written_or_none
from .states import find_push
from .tokens import FREE
from .uploads import push_of
from .watch import look

#: The first pause before the deploy is looked at again, and the longest.
FIRST_LOOK_S = 0.2
LOOK_EVERY_S = 1.5

#: A push that was looked at within this time is not looked at again for a client that asks.
FRESH_S = 1.0

DIGESTS = """
    select coalesce(array_agg(sha1 order by sha1) filter (where is_required), '{}') as required,
           coalesce(array_agg(sha1 order by sha1) filter (where status = 'done'), '{}') as uploaded
      from push_file where push = $1
"""
FILE = """
    select f.sha1, f.deploy_path, f.parts, f.mode, f.status, f.error, f.created_at, f.updated_at,
           coalesce((select array_agg(t.part order by t.part) from push_part t
                      where t.push = f.push and t.sha1 = f.sha1 and t.received_at is not null), '{}') as received
      from push_file f where f.push = $1 and f.sha1 = $2
"""


class Which(msgspec.Struct):
    push_id: Annotated[str, Path("push_id", "pushId")] = ""


class WhichFile(msgspec.Struct):
    push_id: Annotated[str, Path("push_id", "pushId")] = ""
    sha1: Annotated[str, Query()] = ""


class Completion(msgspec.Struct):
    push_id: Annotated[str, Path("push_id", "pushId")] = ""
    wait: Annotated[Any, Body("wait")] = None


class Status(msgspec.Struct):
    push: PushView
    live: dict[str, Any] | None


class FileStatus(msgspec.Struct):
    job: FileView


class Finalizing(msgspec.Struct):
    ok: bool
    queued: bool
    state: str
    pushId: str
    deployId: str | None


class Completed(msgspec.Struct):
    ok: bool
    state: str
    url: str | None
    deployId: str | None


class Cancelled(msgspec.Struct):
    push: PushView


async def own_push(call: Call[Any], push_id: str, message: str = "Push not found") -> Mapping[str, Any]:
    """A push of the call's customer. Raises `Failure`."""
    async with call.db() as db:
        push = await find_push(db, call.customer_id, push_of(push_id))
    if push is None:
        raise no_push(message)
    return push


async def view_of(db: Database, push: Mapping[str, Any]) -> PushView:
    """A push with the digests of its files."""
    digests = await db.fetchrow(DIGESTS, push["id"])
    assert digests is not None
    return PushView(
        push["push_id"], push["branch"], push["title"], push["deploy_id"], push["state"], push["url"], push["error"],
        [*digests["required"]], [*digests["uploaded"]], written(push["created_at"]), written(push["updated_at"]),
    )  # fmt: skip


async def status(call: Call[Which]) -> Status:
    """A push, and what Netlify says of it now; null where Netlify says nothing."""
    push = await own_push(call, call.body.push_id, "Not found")
    live = None
    is_fresh = (push["now"] - push["updated_at"]).total_seconds() < FRESH_S
    if push["ended_at"] is None and not is_fresh and push["deploy_id"] is not None:
        live = await look(call, push)
    async with call.db() as db:
        push = await find_push(db, call.customer_id, push["push_id"]) or push
        return Status(await view_of(db, push), live)


async def file_status(call: Call[WhichFile]) -> FileStatus:
    """A file of a push, in parts or in one request."""
    sha1 = sha1_of(call.body.sha1)
    if sha1 is None:
        raise bad("Missing/invalid sha1")
    push = await own_push(call, call.body.push_id)
    async with call.db() as db:
        row = await db.fetchrow(FILE, push["id"], sha1)
    if row is None or (row["status"] == "waiting" and row["mode"] is None):
        raise Failure(404, "JOB_NOT_FOUND", "Job not found")
    received = [*range(row["parts"])] if row["parts"] and row["status"] == "done" else [*row["received"]]
    parts = row["parts"] or (len(received) if row["mode"] == "chunked" else 1)
    return FileStatus(
        FileView(
            row["sha1"], row["deploy_path"], parts, received, row["status"], row["error"],
            written_or_none(row["created_at"]), written_or_none(row["updated_at"]),
        )
    )  # fmt: skip


async def complete(call: Call[Completion]) -> Reply:
    """All is sent: wait until it is published, or let the push be followed in the background."""
    push = await own_push(call, call.body.push_id)
    missing = push["required_count"] - push["uploaded_count"]
    if push["ended_at"] is None and (missing > 0 or not push["is_prepared"]):
        raise conflict(
            "MISSING_UPLOADS", "Files are missing", {"missingCount": missing},
            hint="push-status lists what is required, and what was uploaded.",
        )  # fmt: skip
    if not call.body.wait:
        async with call.db() as db:
            await db.execute(
                "update push set state = 'finalizing', updated_at = now() where id = $1 and ended_at is null",
                push["id"],
            )
            await db.wake("push.watch", key=push["push_id"])
            await db.audit("PUSH_COMPLETE_ASYNC", push["push_id"])
        return Reply(Finalizing(True, True, "finalizing", push["push_id"], push["deploy_id"]), status=202)
    async with call.db() as db:
        await db.audit("PUSH_COMPLETE", push["push_id"])
    return Reply(await published(call, push))


async def published(call: Call[Completion], push: Mapping[str, Any]) -> Completed:
    """The push, once it is published. Raises `Failure` where it fails, or takes too long."""
    options: PushOptions = call.options
    ends_at, pause_s = asyncio.get_running_loop().time() + options.complete_s, FIRST_LOOK_S
    while push["ended_at"] is None:
        await look(call, push, is_asked=True)
        push = await own_push(call, push["push_id"])
        if push["ended_at"] is not None:
            break
        if asyncio.get_running_loop().time() + pause_s > ends_at:
            raise Failure(
                504, "NETLIFY_NOT_READY", "Netlify has not published it in time",
                hint="The push goes on: ask push-status.",
                fields={"state": push["state"], "deployId": push["deploy_id"], "pushId": push["push_id"]},
            )  # fmt: skip
        await asyncio.sleep(pause_s)
        pause_s = min(LOOK_EVERY_S, 2 * pause_s)
    if push["state"] != "ready":
        raise Failure(
            502, "DEPLOY_FAILED", "Netlify did not publish it",
            fields={"details": push["error"], "state": push["state"]},
        )  # fmt: skip
    return Completed(True, push["state"], push["url"], push["deploy_id"])


async def cancel(call: Call[Which]) -> Cancelled:
    """Cancel a push at Netlify, as soon as that can be asked."""
    push = await own_push(call, call.body.push_id)
    if push["ended_at"] is not None:
        raise conflict("PUSH_ENDED", "This push has ended")
    async with call.db() as db:
        await db.execute("update push set wants_cancel = true, updated_at = now() where id = $1", push["id"])
        await db.wake("push.watch", key=push["push_id"])
    await look(call, {**push, "wants_cancel": True})
    async with call.db() as db:
        push = await find_push(db, call.customer_id, push["push_id"]) or push
        return Cancelled(await view_of(db, push))


PART = Part(
    operations=[
        Operation(
            "push.status", status, Which, FREE, method="GET", path="/pushes/{push_id}", aliases=["push-status"],
            admission="key",
        ),
        Operation(
            "push.file", file_status, WhichFile, FREE, method="GET", path="/pushes/{push_id}/file",
            aliases=["push-file-status"], admission="key",
        ),
        Operation(
            "push.complete", complete, Completion, FREE, path="/pushes/{push_id}/complete",
            aliases=["push-complete"], admission="key", auth=Key("deployer"), timeout_s=180,
        ),
        Operation(
            "push.cancel", cancel, Which, FREE, path="/pushes/{push_id}/cancel", auth=Key("deployer"), admission="key"
        ),
    ]
)  # fmt: skip
