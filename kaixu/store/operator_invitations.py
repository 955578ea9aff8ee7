"""Invitations: links by which operators choose a password, each once."""

from __future__ import annotations

from .operators import COLUMNS, Operator
from .query import Connection, Query

FOUND = Query(
    Operator,
    f"""
    select {COLUMNS}
      from kaixu.operator_invitation i
      join kaixu.operator o on o.id = i.operator_id
     where i.token_hash = $1 and i.expires_at > now() and o.disabled_at is null
    """,  # noqa: S608 - constants
)


async def invite(db: Connection, operator_id: int, token_hash: bytes, *, hours: int) -> None:
    """Make a link the only one of an operator."""
    await db.execute(
        """
        insert into kaixu.operator_invitation as i (operator_id, token_hash, expires_at)
        values ($1, $2, now() + make_interval(hours => $3))
        on conflict (operator_id) do update set token_hash = excluded.token_hash, expires_at = excluded.expires_at
        """,
        operator_id,
        token_hash,
        hours,
    )


async def invited_operator(db: Connection, token_hash: bytes) -> Operator | None:
    """The operator of a link, while it can be used."""
    return await FOUND.one(db, token_hash)


async def take_invitation(db: Connection, token_hash: bytes) -> int | None:
    """Use a link, once: the operator's number; None where it was used, replaced, or is over."""
    operator_id: int | None = await db.fetchval(
        """
        delete from kaixu.operator_invitation i
         using kaixu.operator o
         where o.id = i.operator_id and i.token_hash = $1 and i.expires_at > now() and o.disabled_at is null
        returning i.operator_id
        """,
        token_hash,
    )
    return operator_id


async def withdraw_invitation(db: Connection, operator_id: int) -> None:
    """Make an operator's link useless."""
    await db.execute("delete from kaixu.operator_invitation where operator_id = $1", operator_id)
