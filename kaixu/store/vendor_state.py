"""Whether deployments work, as all gateways together see it: each change is told once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from .pool import database
from .query import Connection, Query


class VendorReport(msgspec.Struct, frozen=True):
    """What one gateway has seen of a deployment since its last report. `reason`: the code of the last failure."""

    lane: str
    upstream: str
    is_failing: bool
    has_failed: bool
    has_answered: bool
    reason: str | None


class DownPlace(msgspec.Struct, frozen=True):
    """A deployment that is down: its lane, and the vendor's name of the model."""

    lane: str
    upstream: str


class VendorState(msgspec.Struct, frozen=True):
    """What the gateways have reported of a deployment. `outages`: that followed each other within an hour."""

    lane: str
    upstream: str
    is_down: bool
    since: datetime
    failed_at: datetime | None
    answered_at: datetime | None
    outages: int


STATES = Query(
    VendorState,
    """
    select lane, upstream, is_down, since, failed_at, answered_at, outages
      from kaixu.vendor_state
     order by lane, upstream
    """,
)

NOTE = Query(
    DownPlace,
    """
    select lane, upstream
      from kaixu.note_vendor_calls(
        p_lane => $1, p_upstream => $2, p_is_failing => $3, p_has_failed => $4, p_has_answered => $5,
        p_reason => $6, p_back_s => $7)
    """,
)


async def note_vendor_calls(db: Connection, reports: Sequence[VendorReport], *, back_s: float) -> set[tuple[str, str]]:
    """Report, and learn which deployments are down; `back_s`: without failures for so long, one is back.

    Raises `DatabaseAway`.
    """
    columns = NOTE.columns(reports) if reports else [[], [], [], [], [], []]
    with database():
        return {(one.lane, one.upstream) for one in await NOTE.all(db, *columns, float(back_s))}


async def vendor_states(db: Connection) -> list[VendorState]:
    """All deployments that have failed or answered lately."""
    return await STATES.all(db)


async def prune_vendor_state(db: Connection, *, days: int) -> None:
    """Forget deployments of which no gateway has reported anything for this long."""
    await db.execute(
        """
        delete from kaixu.vendor_state
         where greatest(since, failed_at, answered_at) < now() - make_interval(days => $1)
        """,
        days,
    )
