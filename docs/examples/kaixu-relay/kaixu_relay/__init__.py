"""Delivers customers' messages to webhooks that the operator allows: accepted at once, delivered by a job."""

from __future__ import annotations

from typing import Annotated, Any

import httpx
import msgspec
from pydantic import Field

from kaixu.plugin import (
    Call,
    Free,
    Integration,
    Job,
    NotFound,
    Operation,
    Options,
    PerCall,
    RegisterIntegration,
    Retry,
    Schedule,
    ScheduledCall,
    Unprocessable,
    WireUrl,
    hookimpl,
)


class RelayOptions(Options):
    """Its section of kaixu.yaml."""

    hosts: list[WireUrl] = Field(min_length=1, description="URLs of the servers that customers may send to")
    keep_s: float = Field(default=30 * 86400, gt=0, description="how long deliveries are stored, in seconds")


class SendBody(msgspec.Struct, forbid_unknown_fields=True):
    url: Annotated[str, msgspec.Meta(min_length=1, max_length=2000)]
    message: dict[str, Any]


class StatusBody(msgspec.Struct, forbid_unknown_fields=True):
    id: int


class DeliverBody(msgspec.Struct):
    id: int


class Delivery(msgspec.Struct):
    id: int
    delivered: bool
    tries: int


async def send(call: Call[SendBody]) -> Delivery:
    """Accept a message. Its row and its job are committed together."""
    require_allowed(call)
    async with call.db() as db:
        number = await db.fetchval(
            "insert into delivery (customer_id, url, message) values ($1, $2, $3) returning id",
            call.customer_id,
            call.body.url,
            call.body.message,
        )
        await db.enqueue("relay.deliver", DeliverBody(number))
    return Delivery(number, delivered=False, tries=0)


async def status(call: Call[StatusBody]) -> Delivery:
    """The state of one's own message."""
    async with call.db() as db:
        row = await db.fetchrow(
            "select tries, delivered_at from delivery where id = $1 and customer_id = $2",
            call.body.id,
            call.customer_id,
        )
    if row is None:
        raise NotFound(f"no such delivery: {call.body.id}", field="id")
    return Delivery(call.body.id, row["delivered_at"] is not None, row["tries"])


async def deliver(call: Call[DeliverBody]) -> Delivery:
    """Post one message. A job may run twice if a gateway dies; the receiver recognizes a repetition by its id."""
    number = call.body.id
    async with call.db() as db:
        row = await db.fetchrow(
            "update delivery set tries = tries + 1 where id = $1 returning url, message, tries, delivered_at", number
        )
    if row is None:
        raise NotFound(f"delivery {number} has expired")
    if row["delivered_at"] is None:
        headers = {"webhook-id": str(number)}
        async with call.wire.send(httpx.Request("POST", row["url"], json=row["message"], headers=headers)):
            pass  # the wire raises for anything but success, and for a host that is no longer in the list
        async with call.db() as db:
            await db.execute("update delivery set delivered_at = now() where id = $1", number)
    return Delivery(number, delivered=True, tries=row["tries"])


async def expire(call: ScheduledCall) -> None:
    """Delete old deliveries."""
    async with call.db() as db:
        seconds = call.options.keep_s
        await db.execute("delete from delivery where created_at < now() - make_interval(secs => $1)", seconds)


def require_allowed(call: Call[SendBody]) -> None:
    """Raises `Unprocessable` for a URL that the operator does not allow: the wire would refuse it later, in a job."""
    if not call.wire.may_send_to(call.body.url):
        raise Unprocessable(
            "the host of `url` is not allowed",
            hint=f"Allowed: {', '.join(call.options.hosts)}.",
            field="url",
        )


@hookimpl
def register_integrations(register: RegisterIntegration) -> None:
    register(
        Integration(
            name="relay",
            options=RelayOptions,
            schema="schema",
            operations=[
                Operation(
                    "relay.send",
                    send,
                    SendBody,
                    PerCall("message"),
                    role="deployer",
                    timeout_s=10,
                    on_failure="release",
                ),
                Operation("relay.status", status, StatusBody, Free("reading one's own deliveries"), timeout_s=10),
            ],
            jobs=[
                Job(
                    "relay.deliver",
                    deliver,
                    DeliverBody,
                    PerCall("delivery"),
                    retry=Retry(attempts=5, first_wait_s=1, most_wait_s=600),
                    timeout_s=30,
                    on_failure="release",
                )
            ],
            schedules=[Schedule("relay.expire", expire, every_s=3600, why_free="housekeeping", timeout_s=60)],
        )
    )
