"""Operations, their addresses, callers and rates."""

from __future__ import annotations

from typing import Annotated

import msgspec

from kaixu.plugin import (
    Call,
    Conflict,
    Free,
    Key,
    NotFound,
    Operation,
    Operator,
    Page,
    PerCall,
    Public,
    Rate,
    Schedule,
    ScheduledCall,
)

from .booking import Booking
from .part import Part


class Nothing(msgspec.Struct):
    """No input."""


class NewParcel(msgspec.Struct, forbid_unknown_fields=True):
    grams: Annotated[int, msgspec.Meta(ge=1, le=30_000)]


class Number(msgspec.Struct):
    number: int


class Parcel(msgspec.Struct):
    number: int
    grams: int
    state: str
    tracking: str | None = None


class Parcels(msgspec.Struct):
    parcels: list[Parcel]
    asked_by: str


async def create(call: Call[NewParcel]) -> Parcel:
    """A new parcel, and the job that books it at the carrier."""
    settings = await call.settings()
    async with call.db() as db:
        if (
            await db.fetchval("select count(*) from parcel where customer_id = $1", call.customer_id)
            >= settings.most_parcels
        ):
            raise Conflict(f"you have {settings.most_parcels} parcels already")
        number = await db.fetchval(
            "insert into parcel (customer_id, grams) values ($1, $2) returning number",
            call.customer_id,
            call.body.grams,
        )
        await db.enqueue("parcel.book", Booking(number), key=str(number), serial=f"customer {call.customer_id}")
    return Parcel(number, call.body.grams, "new")


async def parcels(call: Call[Nothing]) -> Parcels:
    """All parcels of the customer."""
    async with call.db() as db:
        rows = await db.fetch(
            "select number, grams, state, tracking from parcel where customer_id = $1 order by number limit 100",
            call.customer_id,
        )
    return Parcels([Parcel(**row) for row in rows], f"{call.caller.kind} {call.caller.role}")


async def parcel(call: Call[Number]) -> Parcel:
    """One of them."""
    async with call.db() as db:
        row = await db.fetchrow(
            "select number, grams, state, tracking from parcel where number = $1 and customer_id = $2",
            call.body.number, call.customer_id,
        )  # fmt: skip
    if row is None:
        raise NotFound("no such parcel", field="number")
    return Parcel(**row)


async def welcome(call: Call[Nothing]) -> Page:
    """For everybody with a browser."""
    return Page("Parcels <and more>", "Send something.\n\nWe carry it.")


async def forget(call: ScheduledCall) -> None:
    """Delete old parcels."""
    async with call.db() as db:
        await db.execute(
            "delete from parcel where created_at < now() - make_interval(days => $1)", call.options.keep_days
        )


PART = Part(
    operations=[
        Operation(
            "parcel.create", create, NewParcel, PerCall("label"), path="/parcels", aliases=["parcels"],
            auth=Key("deployer"), rate=Rate(100, per_s=60), at_once=5, on_failure="release",
        ),
        Operation("parcel.list", parcels, Nothing, Free("one's own"), method="GET", path="/parcels", aliases=["parcels"]),
        Operation("parcel.one", parcel, Number, Free("one's own"), method="GET", path="/parcels/{number}"),
        Operation(
            "parcel.admin", parcels, Nothing, Free("operators look"), method="GET", path="/admin/parcels",
            auth=Operator(customer="customer_id"),
        ),
        Operation(
            "parcel.welcome", welcome, Nothing, Free("a page for everybody"), method="GET", path="/welcome",
            auth=Public(per_minute=60),
        ),
    ],
    schedules=[Schedule("parcel.forget", forget, every_s=3600, why_free="housekeeping")],
)  # fmt: skip
