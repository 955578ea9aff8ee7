"""Reactions of integrations: what they react to, and what has happened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec

from .query import Connection, Query


class StoredCrossing(msgspec.Struct, frozen=True):
    """What has happened to a customer."""

    id: UUID
    customer_id: int
    event: str
    body: dict[str, Any]


CROSSING = Query(StoredCrossing, "select id, customer_id, event, body from kaixu.crossing where id = $1")


async def crossing_of(db: Connection, job_id: UUID) -> StoredCrossing | None:
    """What the job of a reaction is about."""
    return await CROSSING.one(db, job_id)


async def set_reactions(db: Connection, reactions: Sequence[dict[str, Any]]) -> None:
    """What integrations react to from now on; see schema/functions/set_reactions.sql."""
    await db.execute("select kaixu.set_reactions(p_reactions => $1)", list(reactions))


async def react(db: Connection, event: str, customer_id: int) -> None:
    """Write the jobs that react to an event of a customer, in the caller's transaction."""
    await db.execute("select kaixu.react(p_event => $1, p_customer_id => $2, p_body => '{}')", event, customer_id)


async def rearm_balance(db: Connection, customer_id: int, integration: str, *, after_s: float) -> bool:
    """Let `balance_below` happen once more after some time; whether the customer's balance is watched."""
    watched: bool = await db.fetchval(
        "select kaixu.rearm_balance(p_customer_id => $1, p_integration => $2, p_after_s => $3)",
        customer_id,
        integration,
        float(after_s),
    )
    return watched


async def sweep_watches(db: Connection, *, most: int) -> int:
    """Compare the balances whose time has come; of how many customers."""
    count: int = await db.fetchval("select kaixu.sweep_watches(p_most => $1)", most)
    return count


async def forget_crossings(db: Connection, *, days: int) -> None:
    """Remove crossings whose jobs are gone."""
    await db.execute(
        """
        delete from kaixu.crossing c
         where c.crossed_at < now() - make_interval(days => $1)
           and not exists (select from kaixu.job j where j.id = c.id)
        """,
        days,
    )
