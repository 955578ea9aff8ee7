"""The customer at Stripe, who keeps saved cards."""

from __future__ import annotations

import hashlib
from typing import Any

from kaixu.plugin import Call

from .client import ask
from .views import Named


async def stripe_customer(call: Call[Any], email: str) -> str:
    """The id at Stripe of the call's customer, who is made there once."""
    known = (await call.settings()).stripe_customer_id
    if known:
        return str(known)
    parameters = {"email": email, "metadata": {"customer_id": str(call.customer_id)}}
    # Two that begin at the same time get the same one.
    key = f"customer-{call.customer_id}-{hashlib.sha256(email.encode()).hexdigest()[:16]}"
    made = await ask(
        call,
        Named,
        lambda client: client.v1.customers.create(parameters, {"idempotency_key": key}),  # type: ignore[arg-type]
    )
    await call.change_settings({"stripe_customer_id": made.id})
    return made.id
