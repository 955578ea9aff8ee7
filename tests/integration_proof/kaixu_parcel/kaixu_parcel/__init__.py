"""Parcels: customers send them, a carrier delivers them. Each part of the contract has a file here."""

from __future__ import annotations

from kaixu.plugin import Integration, RegisterIntegration, hookimpl

from . import (
    accounts,
    booking,
    desk,
    documents,
    inputs,
    letters,
    parcels,
    payments,
    receivers,
    replies,
    shipments,
    tokens,
    tracking,
)
from .options import ParcelCustomer, ParcelOptions

#: The files, each with what it adds.
PARTS = (
    parcels.PART, inputs.PART, replies.PART, documents.PART, booking.PART, tokens.PART, tracking.PART, shipments.PART,
    accounts.PART, payments.PART, receivers.PART, letters.PART, desk.PART,
)  # fmt: skip

INTEGRATION = Integration(
    "parcel",
    [one for part in PARTS for one in part.operations],
    options=ParcelOptions,
    customer=ParcelCustomer,
    unique=["account"],
    schema="schema",
    jobs=[one for part in PARTS for one in part.jobs],
    schedules=[one for part in PARTS for one in part.schedules],
    webhooks=[one for part in PARTS for one in part.webhooks],
    callbacks=[one for part in PARTS for one in part.callbacks],
    secrets=[one for part in PARTS for one in part.secrets],
    books=[one for part in PARTS for one in part.books],
    charges=[one for part in PARTS for one in part.charges],
    reactions=[one for part in PARTS for one in part.reactions],
    panels=[one for part in PARTS for one in part.panels],
    grants={"credit", "customers"},
    keeps=["payment"],
    open=letters.opened,
    close=letters.closed,
)


@hookimpl
def register_integrations(register: RegisterIntegration) -> None:
    register(INTEGRATION)
