"""Charges by key, and a book: a shipment is held when it is ordered, and billed by a job when it has arrived."""

from __future__ import annotations

from typing import Annotated

import msgspec

from kaixu.plugin import (
    Book,
    BookFacts,
    BookMonth,
    Call,
    Conflict,
    Failure,
    Free,
    Job,
    Key,
    Monthly,
    NotFound,
    Operation,
    PerCall,
    PerUnit,
)

from .part import Part

HELD_S = 7 * 24 * 3600.0
FREE = Free("billed when it has arrived")


class Order(msgspec.Struct):
    id: Annotated[str, msgspec.Meta(pattern="^[a-z0-9-]{1,40}$")]
    grams: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 1000


class Shipment(msgspec.Struct):
    id: str
    state: str


class Which(msgspec.Struct):
    id: str


class Nothing(msgspec.Struct):
    """No input."""


async def ship(call: Call[Order]) -> Shipment:
    """Order a shipment: its price is held, with its weight."""
    async with call.db() as db:
        made = await db.fetchval(
            "insert into shipment (customer_id, id, grams) values ($1, $2, $3) on conflict do nothing returning id",
            call.customer_id, call.body.id, call.body.grams,
        )  # fmt: skip
        if made is None:
            raise Conflict("there is a shipment with this id")
        await db.hold("shipment", key=call.body.id, for_s=HELD_S)
        await db.hold("weight", key=call.body.id, units=call.body.grams, for_s=HELD_S)
    return Shipment(call.body.id, "ordered")


async def sign_for(call: Call[Which]) -> Shipment:
    """The receiver has signed: a job bills the shipment."""
    async with call.db() as db:
        found = await db.fetchval(
            "select id from shipment where customer_id = $1 and id = $2 and state <> 'cancelled'",
            call.customer_id, call.body.id,
        )  # fmt: skip
        if found is None:
            raise NotFound("no such shipment", field="id")
        await db.enqueue("parcel.arrive", call.body, key=call.body.id)
    return Shipment(call.body.id, "signed for")


async def arrive(call: Call[Which]) -> Shipment:
    """Bill it, once."""
    async with call.db() as db:
        grams = await db.fetchval(
            "update shipment set state = 'arrived' where customer_id = $1 and id = $2 and state <> 'cancelled' "
            "returning grams",
            call.customer_id, call.body.id,
        )  # fmt: skip
        if grams is None:
            return Shipment(call.body.id, "cancelled")
        await db.charge("shipment", key=call.body.id)
        await db.charge("weight", key=call.body.id, units=grams)
    return Shipment(call.body.id, "arrived")


async def cancel(call: Call[Which]) -> Shipment:
    """Give back what is held."""
    async with call.db() as db:
        found = await db.fetchval(
            "update shipment set state = 'cancelled' where customer_id = $1 and id = $2 and state <> 'arrived' "
            "returning id",
            call.customer_id, call.body.id,
        )  # fmt: skip
        if found is None:
            raise NotFound("no such shipment, or it has arrived", field="id")
        await db.release("shipment", key=call.body.id)
        await db.release("weight", key=call.body.id)
    return Shipment(call.body.id, "cancelled")


async def month(call: Call[Nothing]) -> BookMonth:
    """The present month of the book."""
    return await call.book("freight")


def no_room(facts: BookFacts) -> Failure:
    """The book's own refusal."""
    return Failure(
        402,
        "FREIGHT_CAP",
        "no more freight this month",
        hint="Ask for a higher cap.",
        fields={"left_usd": facts.left_nusd / 10**9, "charge": facts.charge},
    )


PART = Part(
    books=[Book("freight", title="Freight", cap="freight_cap", version="price_list", refused=no_room)],
    charges=[
        PerCall("shipment", book="freight"),
        PerUnit("weight", unit="grams", per=1000, book="freight"),
        Monthly("depot", book="freight"),
    ],
    operations=[
        Operation(
            "parcel.ship", ship, Order, FREE, path="/shipments", holds=["shipment", "weight"], auth=Key("deployer")
        ),
        Operation("parcel.freight", month, Nothing, Free("one's own"), method="GET", path="/shipments"),
        Operation("parcel.sign", sign_for, Which, FREE, path="/shipments/{id}/signature", auth=Key("deployer")),
        Operation(
            "parcel.cancel", cancel, Which, Free("gives back"), method="DELETE", path="/shipments/{id}",
            auth=Key("deployer"),
        ),
    ],
    jobs=[Job("parcel.arrive", arrive, Which, FREE)],
)  # fmt: skip
