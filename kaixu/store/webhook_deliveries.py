"""The outbox of webhooks: claimed for one attempt, delivered or tried again, removed after a while."""

from __future__ import annotations

from uuid import UUID

import msgspec

from .pruning import delete_in_batches
from .query import Connection, Query

#: Rows removed in one statement.
ROWS_AT_ONCE = 1000


class DueDelivery(msgspec.Struct, frozen=True):
    """A delivery to be attempted now. `attempt` counts from 1."""

    id: UUID
    event: str
    body: bytes
    attempt: int


# A row that was made in the future, or is due later than any pause lasts, was written before the clock was set back.
CLAIM = Query(
    DueDelivery,
    """
    update kaixu.webhook_delivery d
       set attempts = d.attempts + 1, next_attempt_at = clock_timestamp() + make_interval(secs => $2),
           created_at = least(d.created_at, clock_timestamp())
     where d.id in (select x.id from kaixu.webhook_delivery x
                     where x.destination = $1
                       and (x.next_attempt_at <= clock_timestamp()
                            or x.next_attempt_at > clock_timestamp() + interval '3 hours'
                            or (x.next_attempt_at is not null
                                and x.created_at > clock_timestamp() + interval '5 seconds'))
                     order by x.next_attempt_at limit $3 for update skip locked)
    returning d.id, d.event, d.body, d.attempts as attempt
    """,
)


async def claim_deliveries(db: Connection, destination: str, *, lease_s: float, most: int) -> list[DueDelivery]:
    """Claim deliveries that are due. Each is due again after `lease_s`, unless its attempt is recorded before."""
    return await CLAIM.all(db, destination, float(lease_s), most)


async def record_delivered(db: Connection, delivery: DueDelivery) -> None:
    """End a delivery that has arrived."""
    await db.execute(
        """
        update kaixu.webhook_delivery
           set delivered_at = clock_timestamp(), next_attempt_at = null, last_error = null
         where id = $1
        """,
        delivery.id,
    )


async def record_failed(db: Connection, delivery: DueDelivery, *, error: str, retry_in_s: float | None) -> None:
    """Plan the next attempt, or with None give up. An attempt whose lease ran out changes nothing."""
    await db.execute(
        """
        update kaixu.webhook_delivery
           set next_attempt_at = clock_timestamp() + make_interval(secs => $3::float8), last_error = $4
         where id = $1 and attempts = $2 and delivered_at is null
        """,
        delivery.id,
        delivery.attempt,
        retry_in_s,
        error,
    )


PRUNE = """
    delete from kaixu.webhook_delivery
     where id in (select id from kaixu.webhook_delivery
                   where created_at < now() - make_interval(days => $1)
                   limit $2 for update skip locked)
"""


async def prune_deliveries(db: Connection, *, days: int) -> int:
    """Remove deliveries this old, arrived or not; return how many."""
    return await delete_in_batches(db, PRUNE, days, ROWS_AT_ONCE, at_once=ROWS_AT_ONCE)
