"""What looking at other servers found, and whose turn it is to look."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from .query import Connection, Query

#: The station's brain; a surface's health is 'surface:<app id>'.
BRAIN = "brain"

#: How long a turn lasts: a look takes half of it at most. After a crash, another gateway looks then.
TURN_S = 60.0

#: The turns that one gateway takes at a time; all of them begin at once.
MOST_TURNS = 10


class Turn(msgspec.Struct, frozen=True):
    """A turn to look at `url`. `due_at` names the turn: when it has been moved on, the turn is over."""

    what: str
    url: str
    due_at: datetime


class RemoteCheck(msgspec.Struct, frozen=True):
    """What the last look found. `changed_at`: since when `ok` is what it is."""

    what: str
    url: str
    checked_at: datetime
    changed_at: datetime
    ok: bool
    status: int | None
    ms: int | None
    error: str | None
    endpoint: str | None
    remote: str | None


class Look(msgspec.Struct, frozen=True):
    """What one look found. `remote`: the JSON of a brain."""

    ok: bool
    status: int | None
    ms: int
    error: str | None
    endpoint: str | None = None
    remote: str | None = None


class Written(msgspec.Struct, frozen=True):
    """What the look before found; null: it was the first."""

    was_ok: bool | None


CLAIMED = Query(
    Turn,
    """
    insert into kaixu.remote_check as r (what, url, due_at)
    select a.what, a.url, now() + $3 * interval '1 second'
      from unnest($1::text[], $2::text[]) a (what, url)
      left join kaixu.remote_check d on d.what = a.what and d.url = a.url
     where d.due_at is null or d.due_at <= now()
     order by d.due_at nulls first, a.what, a.url
     limit $4
    on conflict (what, url) do update set due_at = excluded.due_at
     where r.due_at <= now()
    returning what, url, due_at
    """,
)

WRITTEN = Query(
    Written,
    """
    with before as (select r.ok as was_ok from kaixu.remote_check r where r.what = $1 and r.url = $2)
    update kaixu.remote_check r
       set due_at = now() + $4 * interval '1 second', checked_at = now(),
           changed_at = case when r.ok is distinct from $5::boolean then now() else r.changed_at end,
           ok = $5, status = $6, ms = $7, error = $8, endpoint = $9, remote = $10
      from before b
     where r.what = $1 and r.url = $2 and r.due_at = $3::timestamptz
    returning b.was_ok
    """,
)

CHECKS = Query(
    RemoteCheck,
    """
    select r.what, r.url, r.checked_at, r.changed_at, r.ok, r.status, r.ms, r.error, r.endpoint,
           case when $3 then r.remote end as remote
      from kaixu.remote_check r
      join unnest($1::text[], $2::text[]) a (what, url) on a.what = r.what and a.url = r.url
     where r.checked_at is not null
    """,
)


async def claim_turns(db: Connection, targets: Sequence[tuple[str, str]]) -> list[Turn]:
    """The turns that this gateway has now, of the `(what, url)` in `targets`: those that are due."""
    return await CLAIMED.all(db, [what for what, _ in targets], [url for _, url in targets], TURN_S, MOST_TURNS)


async def write_look(db: Connection, turn: Turn, look: Look, *, every_s: float) -> Written | None:
    """Write what a look found; the next one is due in `every_s`. None: the turn was over, and nothing is written."""
    return await WRITTEN.one(
        db, turn.what, turn.url, turn.due_at, every_s,
        look.ok, look.status, look.ms, look.error, look.endpoint, look.remote,
    )  # fmt: skip


async def remote_checks(
    db: Connection, targets: Sequence[tuple[str, str]], *, with_remote: bool = False
) -> dict[str, RemoteCheck]:
    """What the last look at each of the `(what, url)` in `targets` found, by `what`."""
    rows = await CHECKS.all(db, [what for what, _ in targets], [url for _, url in targets], with_remote)
    return {row.what: row for row in rows}


async def prune_checks(db: Connection) -> None:
    """Remove what was found at addresses that nobody has looked at for a week: kaixu.yaml does not name them now."""
    await db.execute("delete from kaixu.remote_check where due_at < now() - interval '7 days'")
