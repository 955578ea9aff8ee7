"""The job that follows a push at Netlify until it has ended, whoever else does, and bills it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec

from kaixu.plugin import Again, Call, FailedCall, Failure, Free, Job, Retry

from .netlify import Deploy, Netlify
from .options import PushOptions
from .part import Part
from .states import end, find_push, note
from .tokens import netlify_for

FREE = Free("billed when Netlify publishes")

#: How long a deploy whose creation was not answered is looked for.
LOST_AFTER = timedelta(minutes=10)

#: The refusals after which Netlify has no such deploy any more.
GONE = frozenset({404, 410})


class Push(msgspec.Struct):
    """Which push it is."""

    push_id: str


class Looked(msgspec.Struct):
    """What was seen of it."""

    push_id: str
    state: str


async def watch(call: Call[Push]) -> Looked:
    """Look at a push, note what has happened, and look again later until it has ended."""
    async with call.db() as db:
        push = await find_push(db, call.customer_id, call.body.push_id)
    if push is None:
        return Looked(call.body.push_id, "deleted")
    if push["ended_at"] is None:
        await look(call, push)
        async with call.db() as db:
            push = await find_push(db, call.customer_id, call.body.push_id) or push
        if push["ended_at"] is None:
            raise Again(pause_s(call.options, push))
    return Looked(push["push_id"], push["state"])


def pause_s(options: PushOptions, push: Mapping[str, Any]) -> float:
    """Until the next look: the longer, the older the push is, and never past its end."""
    age_s = max(0.0, (push["now"] - push["created_at"]).total_seconds())
    left_s = (push["ends_at"] - push["now"]).total_seconds()
    wanted_s = min(options.most_look_s, max(options.first_look_s, age_s / 10))
    return min(wanted_s, left_s) if left_s > options.first_look_s else options.first_look_s


async def look(call: Call[Any], push: Mapping[str, Any], *, is_asked: bool = False) -> dict[str, Any] | None:
    """Look at a push's deploy once, and note what is new; what may be shown of it, or None where nobody can say.

    `is_asked`: somebody waits, and is told with a `Failure` that Netlify cannot be asked.
    """
    is_late = push["now"] >= push["ends_at"]
    try:
        netlify = await netlify_for(call, push["site_id"], push["token_source"])
        deploy_id = push["deploy_id"] or await find_deploy(call, netlify, push)
        if deploy_id is None:
            return None
        is_cancelled = (is_late or push["wants_cancel"]) and await netlify.cancel(deploy_id)
        deploy, shown = await netlify.deploy(push["site_id"], deploy_id)
    except Failure as error:
        await not_seen(call, push, error, is_late=is_late)
        if is_asked:
            raise
        return None
    await note(call, push, deploy)
    if not deploy.is_over and (is_late or is_cancelled):  # one that Netlify does not cancel may still be published
        async with call.db() as db:
            if push["wants_cancel"]:
                await end(db, push, "cancelled", "Cancelled")
            else:
                await end(db, push, "expired", "Netlify did not publish it in time")
    return shown


async def find_deploy(call: Call[Any], netlify: Netlify, push: Mapping[str, Any]) -> str | None:
    """The id of a deploy whose creation was not answered, by its title; None where it did not arrive, or not yet."""
    found: Deploy | None = await netlify.find(push["site_id"], push["push_id"])
    async with call.db() as db:
        if found is not None and found.id:
            await db.execute("update push set deploy_id = $2 where id = $1 and deploy_id is null", push["id"], found.id)
            return found.id
        # Not before, even if the client cancels it: what was sent may still arrive, and is published then.
        if push["now"] >= min(push["ends_at"], push["created_at"] + LOST_AFTER):
            await end(db, push, "error", "Netlify did not get the deploy")
    return None


async def not_seen(call: Call[Any], push: Mapping[str, Any], error: Failure, *, is_late: bool) -> None:
    """Netlify could not be asked. It is asked again until the push's end; what is gone has ended.

    A token that was taken away after the last file, or replaced by one that does not reach the site, cannot make a
    published deploy free.
    """
    async with call.db() as db:
        push = await find_push(db, push["customer_id"], push["push_id"]) or push
        is_complete = push["is_prepared"] and push["required_count"] == push["uploaded_count"]
        is_gone = error.status in GONE and push["deploy_id"] is not None
        if is_gone and not is_complete:
            await end(db, push, "error", "Netlify does not have the deploy any more")
        elif is_late:
            is_without_token = is_gone or error.code == "CONFIG" or error.status in (401, 403)
            await end(
                db, push, "unknown", f"Nobody can say how it ended: {error.message}",
                is_billed=is_complete and is_without_token,
            )  # fmt: skip


async def lost(call: FailedCall[Push]) -> None:
    """The job cannot go on: the push is given up, and what is held for it released."""
    async with call.db() as db:
        push = await find_push(db, call.customer_id, call.body.push_id)
        if push is not None:
            await end(db, push, "unknown", f"Nobody follows it any more ({call.error})")


PART = Part(
    jobs=[
        Job("push.watch", watch, Push, FREE, retry=Retry(20, 5, 600), timeout_s=240, on_failed=lost, admission="none")
    ],
)
