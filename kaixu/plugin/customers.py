"""What an integration may learn of customers, if it is granted."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

import msgspec


class CustomerView(msgspec.Struct, frozen=True):
    """A customer: its plan and cap, and whom to reach. `billing_…`: None where the operator has not set it."""

    id: int
    email: str
    plan_name: str
    is_active: bool
    monthly_cap_nusd: int
    created_at: datetime
    billing_name: str | None = None
    billing_email: str | None = None
    country: str | None = None


class Customers(Protocol):
    """All customers of the gateway, for an integration with the grant `customers`.

    All methods raise `ValueError` without the grant, and `TicketClosed` after the call.
    """

    async def get(self, customer_id: int) -> CustomerView | None:
        """The customer with this id, or None, also for one that was deleted."""
        ...

    async def with_email(self, email: str) -> CustomerView | None:
        """The customer with this address, in whatever case, or None."""
        ...

    async def with_setting(self, field: str, value: str | int) -> CustomerView | None:
        """The customer with this value of a `unique` setting of the integration, or None."""
        ...

    async def create(self, email: str, *, plan: str | None = None) -> CustomerView:
        """Create a customer, with its plan's cap and limits; without a key. The audit log names the integration.

        Raises `Conflict` where the address is taken, `Unprocessable` for an address that cannot be one, or a plan that
        does not exist.
        """
        ...
