"""Parts that nobody completes: removed after the time that they are retained, with what is held for them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec

from kaixu.plugin import Again, Call, Database, Free, Job, Retry

from .options import PushOptions
from .part import Part
from .states import HELD_S, parts_prefix


class Retained(msgspec.Struct):
    """The push whose parts wait."""

    push_id: str


class Expired(msgspec.Struct):
    """How many files and parts were given up."""

    files: int
    parts: int


async def expire(call: Call[Retained]) -> Expired:
    """Give up files that nobody has touched in the time; those that somebody has are looked at again later."""
    options: PushOptions = call.options
    retained = timedelta(hours=options.retention_hours)
    async with call.db() as db:
        push = await db.fetchrow(
            "select id, now() as now from push where customer_id = $1 and push_id = $2",
            call.customer_id, call.body.push_id,
        )  # fmt: skip
        if push is None:
            return Expired(0, 0)
        gone = await expire_files(db, push["id"], push["now"] - retained)
        touched = await db.fetchval(
            "select max(updated_at) from push_file "
            "where push = $1 and parts is not null and status not in ('done', 'expired')",
            push["id"],
        )
    if touched is not None:
        raise Again(max(1.0, (touched + retained - push["now"]).total_seconds()))
    return gone


async def expire_files(db: Database, push: int | None, before: Any, *, of_all: bool = False) -> Expired:
    """Give up the files of a push, or of all customers, that nobody has touched since `before`."""
    parts = 0
    rows = await db.fetch(
        "select x.push, x.push_id, x.sha1, x.parts, x.reserved_bytes, p.customer_id, p.held_bytes, p.ended_at "
        "from expire_files($1, $2) x join push p on p.id = x.push",
        push, before,
    )  # fmt: skip
    for row in rows:
        other = row["customer_id"] if of_all else None
        await db.drop(parts_prefix(row["push_id"], row["sha1"]), customer_id=other)
        parts += row["parts"]
    for row in {row["push"]: row for row in rows}.values():  # the last one of each push has what is left
        if row["ended_at"] is None and row["reserved_bytes"] < row["held_bytes"]:
            other = row["customer_id"] if of_all else None
            await db.hold("gib", key=row["push_id"], units=row["reserved_bytes"], for_s=HELD_S, customer_id=other)
            await db.execute("update push set held_bytes = $2 where id = $1", row["push"], row["reserved_bytes"])
    return Expired(len(rows), parts)


PART = Part(
    jobs=[
        Job(
            "push.expire",
            expire,
            Retained,
            Free("keeps the store clean"),
            retry=Retry(20, 60, 3600),
            holds=["gib"],
            admission="none",
        )
    ],
)
