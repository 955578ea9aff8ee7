"""Parcels: customers send them, a carrier delivers them. Each part of the contract has a file here."""

from __future__ import annotations

from kaixu.plugin import Integration, RegisterIntegration, hookimpl

from . import booking, documents, inputs, parcels, replies, tokens, tracking
from .options import ParcelCustomer, ParcelOptions

#: The files, each with what it adds.
PARTS = (parcels.PART, inputs.PART, replies.PART, documents.PART, booking.PART, tokens.PART, tracking.PART)

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
    secrets=[one for part in PARTS for one in part.secrets],
)


@hookimpl
def register_integrations(register: RegisterIntegration) -> None:
    register(INTEGRATION)
