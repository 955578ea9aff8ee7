"""Jobs, and the wire: parcels are booked at the carrier, and looked for until they are delivered."""

from __future__ import annotations

from typing import TypeVar

import httpx
import msgspec

from kaixu.plugin import Again, Call, FailedCall, Free, Job, NotFound, PerCall, Retry, Tries, UpstreamError

from .part import Part

Answer = TypeVar("Answer", bound=msgspec.Struct)


class Booking(msgspec.Struct):
    number: int


class Booked(msgspec.Struct):
    tracking: str


class Status(msgspec.Struct):
    state: str


async def book(call: Call[Booking]) -> Booked:
    """Book a parcel. Its number is the idempotency key, so that it is booked once."""
    async with call.db() as db:
        row = await db.fetchrow("select grams, tracking from parcel where number = $1", call.body.number)
    if row is None:
        raise NotFound("the parcel is gone")
    if row["tracking"] is not None:
        return Booked(row["tracking"])
    headers = {"idempotency-key": f"parcel-{call.body.number}"}
    token = await call.secrets.get("token")
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    request = httpx.Request("POST", f"{call.options.carrier}/labels", json={"grams": row["grams"]}, headers=headers)
    async with call.wire.send(request, tries=Tries(3, first_wait_s=0.01)) as answer:
        booked = read(await answer.aread(), Booked)
    async with call.db() as db:
        await db.execute(
            "update parcel set tracking = $2, state = 'booked' where number = $1", call.body.number, booked.tracking
        )
        await db.enqueue("parcel.watch", call.body, key=str(call.body.number))
    return booked


async def watch(call: Call[Booking]) -> Status:
    """Look whether a parcel is there. Pauses cost nothing."""
    async with call.db() as db:
        tracking = await db.fetchval("select tracking from parcel where number = $1", call.body.number)
    async with call.wire.send(
        httpx.Request("GET", f"{call.options.carrier}/labels/{tracking}"), accept={404}
    ) as answer:
        status = Status("lost") if answer.status_code == 404 else read(await answer.aread(), Status)
    if status.state == "on its way":
        raise Again(0.2)
    async with call.db() as db:
        await db.execute("update parcel set state = $2 where number = $1", call.body.number, status.state)
    return status


async def give_up(call: FailedCall[Booking]) -> None:
    """A parcel could not be booked."""
    async with call.db() as db:
        await db.execute("update parcel set state = $2 where number = $1", call.body.number, f"failed: {call.error}")


def read(data: bytes, kind: type[Answer]) -> Answer:
    """What the carrier answers. Raises `UpstreamError`."""
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.MsgspecError:
        raise UpstreamError("the carrier's answer cannot be read") from None


PART = Part(
    jobs=[
        Job(
            "parcel.book", book, Booking, PerCall("booking"), retry=Retry(attempts=2, first_wait_s=0.1),
            timeout_s=30, on_failed=give_up, at_once=2, on_failure="release",
        ),
        Job("parcel.watch", watch, Booking, Free("a part of booking"), timeout_s=30),
    ]
)  # fmt: skip
