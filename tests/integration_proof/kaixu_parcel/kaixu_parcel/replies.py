"""Replies of every kind, and an error of the integration's own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec

from kaixu.plugin import Bytes, Call, Events, Failure, Free, Operation, Redirect, Reply, Text

from .part import Part


class Number(msgspec.Struct):
    number: int


class Step(msgspec.Struct):
    state: str


async def label(call: Call[Number]) -> Bytes:
    """The label, as a file."""
    return Bytes(b"%PDF-1.4 parcel", "application/pdf", f"label-{call.body.number}.pdf")


async def steps(call: Call[Number]) -> Events:
    """The steps of a parcel, as they happen."""

    async def all_of_them() -> AsyncIterator[tuple[str, Step]]:
        for state in ("collected", "delivered"):
            yield "step", Step(state)

    return Events(all_of_them())


async def public_page(call: Call[Number]) -> Redirect:
    """The carrier's page."""
    return Redirect(f"https://carrier.example.com/{call.body.number}")


async def words(call: Call[Number]) -> Text:
    """A parcel in words."""
    return Text(f"parcel {call.body.number}")


async def accepted(call: Call[Number]) -> Reply:
    """With a status and a header of its own."""
    return Reply(Step("accepted"), status=202, headers={"x-step": "1"})


async def refused(call: Call[Number]) -> Step:
    """An error of its own, for odd numbers."""
    if call.body.number % 2 == 0:
        return Step("here")
    raise Failure(409, "PARCEL_GONE", "this parcel is gone", hint="Send another.", fields={"number": call.body.number})


PART = Part(
    operations=[
        Operation(f"parcel.{name}", handler, Number, Free("a reply"), method="GET", path=f"/parcels/{{number}}/{name}")
        for name, handler in (
            ("label", label),
            ("steps", steps),
            ("page", public_page),
            ("words", words),
            ("accepted", accepted),
            ("refused", refused),
        )
    ]
)
