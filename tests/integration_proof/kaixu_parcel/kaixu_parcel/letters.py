"""Reactions, and the life of the integration: what happens to customers, and what happens to it."""

from __future__ import annotations

import logging

from kaixu.plugin import Call, Crossing, PluginError, Reaction

from .options import ParcelOptions
from .part import Part

LOG = logging.getLogger("kaixu_parcel")


async def write(call: Call[Crossing]) -> None:
    """A letter for each time that it happens."""
    async with call.db() as db:
        await db.execute(
            "insert into letter (customer_id, event, text) values ($1, $2, $3) on conflict do nothing",
            call.customer_id, str(call.body.id), call.body.on,
        )  # fmt: skip
    if call.body.on == "balance_below":
        call.note("info", "a balance is low", balance_nusd=call.body.balance_nusd)


async def say_goodbye(call: Call[Crossing]) -> None:
    """What was stored is still there; payments stay, without names."""
    async with call.db() as db:
        await db.execute("update payment set payer = null where customer_id = $1", call.customer_id)
    call.note("info", "a customer has left", had_token=await call.secrets.info("token") is not None)


async def opened(options: ParcelOptions) -> None:
    """The depot opens with the integration."""
    if options.is_closed:
        raise PluginError("the depot is closed: set is_closed to false")
    LOG.warning("the depot has opened")


async def closed() -> None:
    """And closes with it."""
    LOG.warning("the depot has closed")


PART = Part(
    reactions=[
        Reaction("balance_below", write, "a letter", threshold="warn_below_cents"),
        Reaction("cap_reached", write, "a letter"),
        Reaction("customer_deleted", say_goodbye, "housekeeping"),
    ]
)
