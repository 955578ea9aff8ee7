"""Customers: operators invite those who get parcels, and find who has an account at the carrier."""

from __future__ import annotations

from typing import Annotated

import msgspec

from kaixu.plugin import Call, Free, Job, NotFound, Operation, Operator, Query

from .part import Part


class Invitation(msgspec.Struct):
    email: str


class Person(msgspec.Struct):
    customer_id: int
    email: str
    plan: str


class Account(msgspec.Struct):
    account: Annotated[str, Query()]


class Welcome(msgspec.Struct):
    text: str = "Welcome."


async def invite(call: Call[Invitation]) -> Person:
    """The customer with this address, who is made if there is none, and a job for it."""
    found = await call.customers.with_email(call.body.email)
    if found is None:
        found = await call.customers.create(call.body.email)
    await call.enqueue("parcel.greet", Welcome(), key="welcome", customer_id=found.id)
    return Person(found.id, found.email, found.plan_name)


async def who(call: Call[Account]) -> Person:
    """Whose account at the carrier this is."""
    found = await call.customers.with_setting("account", call.body.account)
    if found is None:
        raise NotFound("nobody has this account", field="account")
    return Person(found.id, found.email, found.plan_name)


async def greet(call: Call[Welcome]) -> Welcome:
    """A letter for the customer."""
    async with call.db() as db:
        await db.execute(
            "insert into letter (customer_id, event, text) values ($1, 'welcome', $2) on conflict do nothing",
            call.customer_id, call.body.text,
        )  # fmt: skip
    return call.body


PART = Part(
    operations=[
        Operation(
            "parcel.invite", invite, Invitation, Free("operators"), path="/admin/invitations", auth=Operator(None)
        ),
        Operation("parcel.who", who, Account, Free("operators"), method="GET", path="/admin/who", auth=Operator(None)),
    ],
    jobs=[Job("parcel.greet", greet, Welcome, Free("a letter"))],
)
