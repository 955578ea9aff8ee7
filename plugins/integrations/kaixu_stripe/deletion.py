"""A customer is deleted: nobody can pay for them any more, and their cards are detached. Payments stay, unnamed."""

from __future__ import annotations

from kaixu.plugin import Call, Crossing, Reaction, UpstreamError

from .cards import detach
from .client import GONE, REFUSED, ask
from .views import Named


async def forget(call: Call[Crossing]) -> None:
    """Close the open checkouts of a customer, and detach the cards."""
    async with call.db() as db:
        open_ones = await db.fetch(
            "select id, session_id from payment where customer_id = $1 and status = 'open' and session_id is not null "
            "order by id limit 100",
            call.customer_id,
        )
        cards = await db.fetch("select id from card where customer_id = $1 limit 100", call.customer_id)
    for one in open_ones:
        await expire(call, one["session_id"])
        async with call.db() as db:
            await db.execute("update payment set url = null, looked_at = null where id = $1", one["id"])
    for card in cards:
        await detach(call, card["id"])
        async with call.db() as db:
            await db.execute("delete from card where id = $1", card["id"])


async def expire(call: Call[Crossing], session_id: str) -> None:
    """Close a session at Stripe. It refuses for one that is paid or expired: the sweep finds out which."""
    try:
        await ask(
            call,
            Named,
            lambda client: client.v1.checkout.sessions.expire(
                session_id, options={"idempotency_key": f"expire-{session_id}"}
            ),
        )
    except UpstreamError as error:
        if error.code not in (REFUSED, GONE):
            raise


DELETED = Reaction("customer_deleted", forget, "detaches the cards of a customer who leaves")
