"""Payments by Stripe: customers top up their credit, by hand or automatically, and each payment is credited once."""

from __future__ import annotations

from kaixu.plugin import Integration, RegisterIntegration, hookimpl

from . import (
    account,
    admin_panels,
    cards,
    checkout,
    dashboard_panels,
    deletion,
    pages,
    settlement,
    sweep,
    topup,
    webhook,
)
from .client import opened
from .options import StripeCustomer, StripeOptions

INTEGRATION = Integration(
    "stripe",
    [*checkout.OPERATIONS, *account.OPERATIONS, cards.REMOVE, *admin_panels.OPERATIONS],
    options=StripeOptions,
    customer=StripeCustomer,
    unique=["stripe_customer_id"],
    hosts=["api.stripe.com"],
    schema="schema",
    jobs=[settlement.SETTLE, topup.TOP_UP],
    schedules=[sweep.SWEEP],
    webhooks=[webhook.EVENTS],
    callbacks=[pages.PAID],
    reactions=[*topup.REACTIONS, deletion.DELETED],
    panels=[*admin_panels.PANELS, *dashboard_panels.PANELS],
    grants={"credit", "customers", "mail"},
    keeps=["payment", "dispute", "event"],
    open=opened,
)


@hookimpl
def register_integrations(register: RegisterIntegration) -> None:
    """Register the integration."""
    register(INTEGRATION)
