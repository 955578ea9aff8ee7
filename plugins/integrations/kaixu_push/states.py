"""What is noted of a push: what Netlify says of its deploy, and how it ended, with its bill."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from kaixu.plugin import Call, Database

from .netlify import Deploy

#: How long a charge is held; a push is given up long before.
HELD_S = 14 * 86_400.0

#: How far back the gateway books a charge, less a day.
MOST_LATE = timedelta(days=61)

PUSH = """
    select id, customer_id, push_id, branch, title, site_id, token_source, deploy_id, state, url, error, is_prepared,
           required_count, uploaded_count, reserved_bytes, held_bytes, wants_cancel, ends_at, created_at, updated_at,
           ended_at, now() as now
      from push where customer_id = $1 and push_id = $2
"""


async def find_push(db: Database, customer_id: int | None, push_id: str) -> Mapping[str, Any] | None:
    """A push of a customer."""
    return await db.fetchrow(PUSH, customer_id, push_id)


async def note(call: Call[Any], push: Mapping[str, Any], deploy: Deploy) -> None:
    """Note what Netlify says of a push's deploy: what it requires, its state, and its end with the bill."""
    async with call.db() as db:
        if deploy.is_prepared and may_change(push, deploy):
            for row in await db.fetch(
                "select is_first, sha1 from note_required($1, $2)", push["id"], deploy.required or []
            ):
                if row["sha1"] is not None:
                    await db.drop(parts_prefix(push["push_id"], row["sha1"]))
        if deploy.is_over:
            is_ready = deploy.state == "ready"
            error = None if is_ready else (deploy.error_message or "Netlify has given up the deploy")[:500]
            await end(
                db, push, deploy.state, error, deploy.address, published=deploy.published_at if is_ready else None
            )
            return
        await db.execute(
            "update push set state = case when state = 'finalizing' and required_count = uploaded_count then state "
            "else $2 end, url = coalesce($3, url), updated_at = now() "
            "where id = $1 and ended_at is null and (state, url) is distinct from ($2, $3)",
            push["id"], deploy.state[:40], deploy.address,
        )  # fmt: skip


def may_change(push: Mapping[str, Any], deploy: Deploy) -> bool:
    """Whether what Netlify requires can be news.

    Where nothing is required in the middle of an upload, that is an answer without the list, and not the end of it.
    """
    missing = push["required_count"] - push["uploaded_count"]
    if push["is_prepared"] and not deploy.required and deploy.state in ("prepared", "uploading"):
        return False
    return not push["is_prepared"] or len(set(deploy.required or ())) != missing


async def end(
    db: Database,
    push: Mapping[str, Any],
    state: str,
    error: str | None,
    url: str | None = None,
    *,
    published: str | None = None,
    is_billed: bool | None = None,
) -> None:
    """A push has ended: noted and billed once, together. Its parts go.

    A published deploy is billed, every other one releases what is held for it. The bytes that Netlify has got are
    billed either way. `is_billed`: if it is not the state that says so.
    """
    ended = await db.fetchrow(
        "update push p set state = $2, error = $3, url = coalesce($4, p.url), ended_at = now(), updated_at = now() "
        "where p.id = $1 and p.ended_at is null "
        "returning now() as now, (select coalesce(sum(f.bytes), 0)::bigint from push_file f "
        "where f.push = p.id and f.status = 'done') as bytes",
        push["id"], state[:40], error, url,
    )  # fmt: skip
    if ended is None:
        return
    await db.audit("PUSH_COMPLETE_BG", push["push_id"], after={"state": state[:40]})
    at = published_at(published, ended["now"])
    key = push["push_id"]
    if state == "ready" if is_billed is None else is_billed:
        await db.charge("deploy", key=key, at=at)
    else:
        await db.release("deploy", key=key)
    if ended["bytes"]:
        await db.charge("gib", key=key, units=ended["bytes"], at=at)
    else:
        await db.release("gib", key=key)
    await db.execute(
        "update push_file set status = 'expired', parts = null, claim = null, claimed_until = null, reserved = 0, "
        "next_attempt_at = null, updated_at = now() where push = $1 and status not in ('waiting', 'done', 'expired')",
        push["id"],
    )
    await db.drop(parts_prefix(push["push_id"]))


def published_at(text: str | None, now: datetime) -> datetime:
    """When a deploy was published, as far as it can be booked then; now where Netlify does not say it."""
    try:
        at = datetime.fromisoformat(text) if text else now
    except ValueError:
        return now
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return at if now - MOST_LATE < at <= now else now


def parts_prefix(push_id: str, sha1: str = "") -> str:
    """How the names of a push's parts begin, or of one file's."""
    return f"{push_id}/{sha1}/" if sha1 else f"{push_id}/"
