"""The customer at Stripe, who keeps saved cards."""

from __future__ import annotations

import hashlib
from typing import Any

from kaixu.plugin import Call, UpstreamError

from .client import GONE, ask
from .views import Customer, Named


async def stripe_customer(call: Call[Any], email: str) -> str:
    """The id at Stripe of the call's customer, who is made there once; again, if somebody has deleted it there."""
    known: str | None = (await call.settings()).stripe_customer_id
    if known and await is_there(call, known):
        return known
    if known:  # its cards are gone, too
        async with call.db() as db:
            await db.execute("delete from card where customer_id = $1", call.customer_id)
    parameters = {"email": email, "metadata": {"customer_id": str(call.customer_id)}}
    # Two that begin at the same time get the same one.
    digest = hashlib.sha256(f"{email} {known or ''}".encode()).hexdigest()[:16]
    key = f"customer-{call.customer_id}-{digest}"
    made = await ask(
        call,
        Named,
        lambda client: client.v1.customers.create(parameters, {"idempotency_key": key}),  # type: ignore[arg-type]
    )
    await call.change_settings({"stripe_customer_id": made.id})
    return made.id


async def is_there(call: Call[Any], customer: str) -> bool:
    """Whether Stripe still has a customer."""
    try:
        return not (await ask(call, Customer, lambda client: client.v1.customers.retrieve(customer))).deleted
    except UpstreamError as error:
        if error.code == GONE:
            return False
        raise
