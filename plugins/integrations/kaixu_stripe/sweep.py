"""The sweep: payments of which nothing was heard, and events that did not arrive."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from kaixu.plugin import Schedule, ScheduledCall

from .client import ask, read
from .payments import Which
from .views import Listing
from .webhook import TYPES, Event, event_of

if TYPE_CHECKING:
    from stripe import StripeClient

EVERY_S = 300.0

#: Payments that are asked about in one sweep, and how long one is left alone: at first, then each time twice as long.
MOST_PAYMENTS = 200
LEFT_ALONE = timedelta(minutes=10)

#: Each sweep asks again for the events of this time before the last one: they may be listed late.
OVERLAP = timedelta(minutes=10)

#: Events are asked for by this much time: a gateway that was off for a week does not ask for all of it at once.
#: A window with more than a page of events is made smaller, down to the shortest one: so each step is short, and what
#: is done of thousands of events stays done when the next one fails.
WINDOW = timedelta(hours=6)
SHORTEST = timedelta(seconds=10)
MOST_WINDOWS = 200

#: Stripe keeps events for 30 days.
KEPT = timedelta(days=29)


async def sweep(call: ScheduledCall) -> None:
    """Ask about payments that are open for too long; then feed in the events that the webhook has not brought."""
    async with call.db() as db:
        await db.execute(
            """
            update payment set status = 'failed', reason = 'never_began', updated_at = now()
             where status = 'creating' and kind = 'checkout' and session_id is null
               and created_at < now() - interval '1 hour'
            """
        )
        rows = await db.fetch(
            """
            select id from payment
             where status in ('creating', 'open', 'pending') and not (kind = 'checkout' and session_id is null)
               and coalesce(looked_at, created_at)
                   < now() - greatest($1::interval, coalesce(looked_at, created_at) - created_at)
             order by coalesce(looked_at, created_at) limit $2
            """,
            LEFT_ALONE, MOST_PAYMENTS,
        )  # fmt: skip
        late = await db.fetch(
            """
            select p.id from payment p
             where p.status not in ('creating', 'open', 'pending') and exists (
                       select from event e
                        where e.payment_id = p.id and e.handled_at is null
                          and e.received_at between now() - $3::interval and now() - $1::interval
                          and p.looked_at < now() - greatest($1::interval, p.looked_at - e.received_at))
             order by p.looked_at limit $2
            """,
            LEFT_ALONE, MOST_PAYMENTS, KEPT,
        )  # fmt: skip
        for row in [*rows, *late]:
            await db.enqueue("stripe.settle", Which(row["id"]), key=f"payment {row['id']}")
        now = await db.fetchval("select now()")
        since = await db.fetchval(
            """
            insert into cursor (name, at) values ('events', now() - interval '1 hour')
            on conflict (name) do update set name = excluded.name returning at
            """
        )
    await feed(call, max(since, now - KEPT), now)


async def feed(call: ScheduledCall, since: datetime, now: datetime) -> None:
    """Ask for events from `since` to `now`, window by window; the cursor moves with each."""
    window = WINDOW
    for _ in range(MOST_WINDOWS):
        until = min(since + window, now)
        if not await feed_window(call, since, until):
            window = max((until - since) / 4, SHORTEST)
            continue
        window = min(window * 2, WINDOW)
        since = until
        async with call.db() as db:
            reached = min(until, now - OVERLAP)
            await db.execute("update cursor set at = greatest(at, $1) where name = 'events'", reached)
        if until == now:
            return


async def feed_window(call: ScheduledCall, since: datetime, until: datetime) -> bool:
    """Store the events of a window that are new; those that arrived are known by their ids.

    False: there are more than one page, and the window can be smaller.
    """
    after: str | None = None
    while True:
        work = partial(listed, since=since, until=until, after=after)
        page: Listing[dict[str, Any]] = await ask(call, Listing[dict[str, Any]], work)
        events = [(read(one, Event), msgspec.json.encode(one)) for one in page.data]
        async with call.db() as db:
            for event, body in events:
                if event.type in TYPES:
                    await db.receive("events", event_of(event), body)
        if not page.has_more or not events:
            return True
        if until - since > SHORTEST:
            return False
        after = events[-1][0].id


def listed(client: StripeClient, since: datetime, until: datetime, after: str | None) -> object:
    """One page of events, the newest first."""
    created = {"gte": int(since.timestamp()), "lte": int(until.timestamp()) + 1}
    parameters: dict[str, Any] = {"created": created, "types": list(TYPES), "limit": 100}
    if after is not None:
        parameters["starting_after"] = after
    return client.v1.events.list(parameters)  # type: ignore[arg-type]


SWEEP = Schedule("stripe.sweep", sweep, EVERY_S, "asks Stripe about payments of which nothing was heard")
