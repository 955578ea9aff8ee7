"""Inputs: fields of the body, the query, the path and headers, and bytes."""

from __future__ import annotations

from typing import Annotated

import msgspec

from kaixu.plugin import Body, Call, Clamped, Free, Header, NotFound, Operation, Path, PerUnit, Query, RawBody

from .part import Part


class QuoteBody(msgspec.Struct):
    grams: Annotated[int, Body("weightGrams", "weight_grams", lax=True)]
    days: Annotated[int, Query(), Clamped(1, 10, default=3)]
    country: Annotated[str | None, Header("x-country")] = None


class Quote(msgspec.Struct):
    cents: int
    days: int
    country: str | None


class Photo(msgspec.Struct):
    number: Annotated[int, Path()]
    data: Annotated[bytes, RawBody(most_bytes=100_000)]


class Stored(msgspec.Struct):
    number: int
    size: int


async def quote(call: Call[QuoteBody]) -> Quote:
    """What a parcel costs."""
    return Quote(call.body.grams // 10, call.body.days, call.body.country)


async def store_photo(call: Call[Photo]) -> Stored:
    """A photo of a parcel, billed by its size."""
    async with call.db() as db:
        number = await db.fetchval(
            "update parcel set photo = $3 where number = $1 and customer_id = $2 returning number",
            call.body.number, call.customer_id, call.body.data,
        )  # fmt: skip
    if number is None:
        raise NotFound("no such parcel", field="number")
    return Stored(number, len(call.body.data))


PART = Part(
    operations=[
        Operation("parcel.quote", quote, QuoteBody, Free("asking costs nothing"), path="/quotes"),
        Operation(
            "parcel.photo", store_photo, Photo, PerUnit("photo", unit="bytes_in", most=100_000, per=1000),
            method="PUT", path="/parcels/{number}/photo", on_failure="release",
        ),
    ]
)  # fmt: skip
