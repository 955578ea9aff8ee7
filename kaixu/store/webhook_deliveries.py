"""The outbox of webhooks: claimed for one attempt, delivered or tried again, removed after a while."""

from __future__ import annotations

from uuid import UUID

import msgspec

from .pruning import delete_in_batches
from .query import Connection, Query

#: Rows removed in one statement.
ROWS_AT_ONCE = 1000

#: So many attempts in a row fail before it is told that a receiver fails: some six minutes, with the usual pauses.
MOST_FAILURES = 4


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


class DueCustomerDelivery(DueDelivery, frozen=True):
    """A delivery to a customer's own webhook. `url` is sealed; None: it was removed meanwhile."""

    customer_id: int
    url: bytes | None


# One for each customer: a receiver that hangs must not take the places of the others. Only deliveries to customers' own
# webhooks have a customer.
CLAIM_OF_CUSTOMERS = Query(
    DueCustomerDelivery,
    """
    with due as (
        update kaixu.webhook_delivery d
           set attempts = d.attempts + 1, next_attempt_at = clock_timestamp() + make_interval(secs => $1),
               created_at = least(d.created_at, clock_timestamp())
         where d.id in (select x.id from kaixu.webhook_delivery x
                         where x.id in (select distinct on (y.customer_id) y.id from kaixu.webhook_delivery y
                                         where y.customer_id is not null and y.next_attempt_at is not null
                                           and (y.next_attempt_at <= clock_timestamp()
                                                or y.next_attempt_at > clock_timestamp() + interval '3 hours'
                                                or y.created_at > clock_timestamp() + interval '5 seconds')
                                         order by y.customer_id, y.next_attempt_at)
                           -- Again, of the row itself: another gateway may have claimed it meanwhile.
                           and (x.next_attempt_at <= clock_timestamp()
                                or x.next_attempt_at > clock_timestamp() + interval '3 hours'
                                or (x.next_attempt_at is not null
                                    and x.created_at > clock_timestamp() + interval '5 seconds'))
                         order by x.next_attempt_at limit $2 for update skip locked)
        returning d.*
    )
    select d.id, d.event, d.body, d.attempts as attempt, d.customer_id, w.url
      from due d
      left join kaixu.alert_webhook w on w.customer_id = d.customer_id
    """,
)


async def claim_customer_deliveries(db: Connection, *, lease_s: float, most: int) -> list[DueCustomerDelivery]:
    """The same for customers' own webhooks, at most one for each customer."""
    return await CLAIM_OF_CUSTOMERS.all(db, float(lease_s), most)


async def claim_deliveries(db: Connection, destination: str, *, lease_s: float, most: int) -> list[DueDelivery]:
    """Claim deliveries that are due. Each is due again after `lease_s`, unless its attempt is recorded before."""
    return await CLAIM.all(db, destination, float(lease_s), most)


async def record_delivered(db: Connection, delivery: DueDelivery) -> None:
    """End a delivery that has arrived; tell it if its receiver has failed before."""
    await db.execute(
        """
        with ended as (
            update kaixu.webhook_delivery
               set delivered_at = clock_timestamp(), next_attempt_at = null, last_error = null
             where id = $1
            returning destination, customer_id
        )
        select kaixu.note_delivery(p_receiver => e.destination, p_customer_id => e.customer_id, p_error => null,
                                   p_is_final => false, p_most_failures => $2)
          from ended e
        """,
        delivery.id,
        MOST_FAILURES,
    )


async def record_failed(db: Connection, delivery: DueDelivery, *, error: str, retry_in_s: float | None) -> None:
    """Plan the next attempt, or with None give up; tell it if the receiver keeps failing.

    An attempt whose lease ran out changes nothing.
    """
    await db.execute(
        """
        with failed as (
            update kaixu.webhook_delivery
               set next_attempt_at = clock_timestamp() + make_interval(secs => $3::float8), last_error = $4
             where id = $1 and attempts = $2 and delivered_at is null
            returning destination, customer_id
        )
        select kaixu.note_delivery(p_receiver => f.destination, p_customer_id => f.customer_id, p_error => $4,
                                   p_is_final => $3::float8 is null, p_most_failures => $5)
          from failed f
        """,
        delivery.id,
        delivery.attempt,
        retry_in_s,
        error,
        MOST_FAILURES,
    )


async def record_abandoned(db: Connection, delivery: DueDelivery, *, error: str) -> None:
    """Give up a delivery that has no receiver any more."""
    await db.execute(
        """
        update kaixu.webhook_delivery
           set next_attempt_at = null, last_error = $3
         where id = $1 and attempts = $2 and delivered_at is null
        """,
        delivery.id,
        delivery.attempt,
        error,
    )


async def prune_receiver_failures(db: Connection, *, days: int) -> None:
    """Forget failures of receivers that are perhaps gone; one that still fails is then told again."""
    await db.execute(
        "delete from kaixu.receiver_failure where failing_since < now() - make_interval(days => $1)",
        days,
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
