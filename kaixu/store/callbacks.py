"""What was begun at vendors with browsers: noted, taken once, removed."""

from __future__ import annotations

import msgspec

from .pruning import delete_in_batches
from .query import Connection, Query

ROWS_AT_ONCE = 1000

#: The most that one customer can have begun at the same time.
MOST_BEGUN = 1000


class NewState(msgspec.Struct, frozen=True):
    """What is begun. `lifetime_s`: from now."""

    state_hash: bytes
    integration: str
    callback: str
    customer_id: int | None
    key_id: int | None
    is_bound: bool
    cookie_hash: bytes
    sealed: bytes
    lifetime_s: float


class TakenState(msgspec.Struct, frozen=True):
    """What schema/functions/take_callback.sql returns. `refused` is a code, or None. `email`: the customer's."""

    refused: str | None
    customer_id: int | None
    key_id: int | None
    is_bound: bool
    sealed: bytes | None
    email: str | None


TAKE = Query(
    TakenState,
    """
    select refused, customer_id, key_id, is_bound, sealed, email
      from kaixu.take_callback(p_state_hash => $1, p_integration => $2, p_callback => $3, p_cookie_hash => $4,
                               p_is_confirmed => $5)
    """,
)

BEGIN = """
    insert into kaixu.callback_state (state_hash, integration, callback, customer_id, key_id, is_bound, cookie_hash,
                                      sealed, expires_at)
    select $1, $2, $3, $4, $5, $6, $7, $8, clock_timestamp() + make_interval(secs => $9)
     where (select count(*) from kaixu.callback_state s
             where s.customer_id = $4 and s.expires_at > clock_timestamp()) < $10
"""

PRUNE = """
    delete from kaixu.callback_state
     where state_hash in (
        select s.state_hash from kaixu.callback_state s where s.expires_at < clock_timestamp() limit $1)
"""


async def begin_callback(db: Connection, new: NewState) -> bool:
    """Note what is begun; False: the customer has begun too much."""
    status = await db.execute(
        BEGIN,
        new.state_hash,
        new.integration,
        new.callback,
        new.customer_id,
        new.key_id,
        new.is_bound,
        new.cookie_hash,
        new.sealed,
        float(new.lifetime_s),
        MOST_BEGUN,
    )
    return status == "INSERT 0 1"


async def take_callback(
    db: Connection,
    *,
    state_hash: bytes,
    integration: str,
    callback: str,
    cookie_hash: bytes | None,
    is_confirmed: bool,
) -> TakenState:
    """What was begun under a state; see schema/functions/take_callback.sql."""
    row = await TAKE.one(db, state_hash, integration, callback, cookie_hash, is_confirmed)
    assert row is not None
    return row


async def prune_callbacks(db: Connection) -> int:
    """Forget what can no longer return; how many."""
    return await delete_in_batches(db, PRUNE, ROWS_AT_ONCE, at_once=ROWS_AT_ONCE)
