"""Saved cards: what may be shown of them, and how they are removed."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from kaixu.plugin import Call, Database, Free, Key, NotFound, Operation, Path, UpstreamError

from .client import GONE, REFUSED, ask
from .views import Named, PaymentMethod


class CardView(msgspec.Struct):
    """A saved card."""

    id: str
    brand: str
    last4: str
    exp_month: int | None
    exp_year: int | None


class WhichCard(msgspec.Struct):
    card: Annotated[str, Path("id"), msgspec.Meta(max_length=200)]


class Ok(msgspec.Struct):
    ok: bool = True


async def note_card(db: Database, customer_id: int, method: PaymentMethod) -> None:
    """Note a card that was saved while somebody paid. Raises nothing where it is known."""
    card = method.card
    assert card is not None
    await db.execute(
        """
        insert into card (id, customer_id, brand, last4, exp_month, exp_year) values ($1, $2, $3, $4, $5, $6)
        on conflict (id) do nothing
        """,
        method.id, customer_id, (card.brand or "card")[:40], (card.last4 or "????")[:4], card.exp_month, card.exp_year,
    )  # fmt: skip


async def cards_of(db: Database, customer_id: int) -> list[CardView]:
    """The saved cards of a customer, the newest first."""
    rows = await db.fetch(
        """
        select id, brand, last4, exp_month, exp_year from card
         where customer_id = $1 order by created_at desc, id limit 100
        """,
        customer_id,
    )
    return [CardView(**row) for row in rows]


async def remove(call: Call[WhichCard]) -> Ok:
    """Detach a card at Stripe, and forget it. Without any card automatic top-ups end."""
    async with call.db() as db:
        found = await db.fetchval(
            "select id from card where id = $1 and customer_id = $2", call.body.card, call.customer_id
        )
    if found is None:
        raise NotFound("no such card", field="id")
    await detach(call, found)
    async with call.db() as db:
        await db.execute("delete from card where id = $1 and customer_id = $2", found, call.customer_id)
        left = await db.fetchval("select count(*) from card where customer_id = $1", call.customer_id)
    settings = await call.settings()
    if not left and settings.auto_topup_enabled:
        await call.change_settings({"auto_topup_enabled": False})
    return Ok()


async def detach(call: Call[Any], card: str) -> None:
    """Detach a card at Stripe. Stripe refuses only for one that is not attached, or not there, any more."""
    try:
        await ask(
            call,
            Named,
            lambda client: client.v1.payment_methods.detach(card, options={"idempotency_key": f"detach-{card}"}),
        )
    except UpstreamError as error:
        if error.code not in (REFUSED, GONE):
            raise


REMOVE = Operation(
    "stripe.card.remove", remove, WhichCard, Free("one's own cards"), method="DELETE", path="/cards/{id}",
    auth=Key("admin"), admission="key",
)  # fmt: skip
