"""Customers, credits and balances for tests without a gateway."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from kaixu.plugin.customers import CustomerView
from kaixu.plugin.errors import Conflict, NotFound
from kaixu.plugin.money import Balance, CreditRequest, Grant, credit_request
from kaixu.plugin.operation import Integration


class FakeGrants:
    """What the call's integration declares; a call of none may do everything."""

    integration: Integration | None = None

    def require(self, grant: Grant) -> None:
        """Raises `ValueError` as a gateway does."""
        if self.integration is not None and grant not in self.integration.grants:
            raise ValueError(f"integration `{self.integration.name}` does not declare the grant `{grant}`")

    @property
    def name(self) -> str:
        """The integration's name."""
        return "test" if self.integration is None else self.integration.name


class FakeLedger:
    """Credits of a call's transactions, each key once, and what customers have.

    `booked` are those of transactions that have ended well; `balances` what `balance` returns, by customer.
    """

    def __init__(self, grants: FakeGrants, customer_id: int | None) -> None:
        self.grants = grants
        self.customer_id = customer_id
        self.gathered: list[CreditRequest] = []
        self.booked: list[CreditRequest] = []
        self.balances: dict[int, Balance] = {}

    def add(
        self,
        customer_id: int,
        amount_nusd: int,
        *,
        key: str,
        month: str | None,
        source: str | None,
        reference: str | None,
    ) -> None:
        """Gather a credit. Raises as a gateway does."""
        self.grants.require("credit")
        one = credit_request(
            self.grants.name, customer_id, amount_nusd, key=key, month=month, source=source, reference=reference
        )
        self.require_customer(customer_id)
        self.gathered.append(one)

    def require_customer(self, customer_id: int) -> None:
        """Raises `ValueError` for another customer than the call's, without the grant."""
        if customer_id != self.customer_id:
            self.grants.require("customers")

    def book(self) -> None:
        """Book what was gathered, each key once. Raises `Conflict`."""
        gathered, self.gathered = self.gathered, []
        for one in gathered:
            earlier = next((other for other in self.booked if other.key == one.key), None)
            if earlier is None:
                self.booked.append(one)
            elif (earlier.customer_id, earlier.amount_nusd) != (one.customer_id, one.amount_nusd):
                raise Conflict("the key of this credit was used for another customer or amount")

    def balance(self, customer_id: int | None) -> Balance:
        """What is in `balances`. Raises `NotFound`."""
        wanted = self.customer_id if customer_id is None else customer_id
        if wanted is None:
            raise ValueError("this call has no customer")
        self.require_customer(wanted)
        if wanted not in self.balances:
            raise NotFound(f"there is no customer {wanted}")
        return self.balances[wanted]


class FakeCustomers:
    """See `Customers`; `known` has all of them, and those that a test adds."""

    def __init__(
        self, grants: FakeGrants, require_open: Callable[[], None], known: Sequence[CustomerView] = ()
    ) -> None:
        self.grants = grants
        self.require_open = require_open
        self.known = list(known)
        self.settings: dict[tuple[str, str | int], int] = {}

    def require_granted(self) -> None:
        """Raises `TicketClosed`, `ValueError`."""
        self.require_open()
        self.grants.require("customers")

    async def get(self, customer_id: int) -> CustomerView | None:
        """See `Customers.get`."""
        self.require_granted()
        return next((one for one in self.known if one.id == customer_id), None)

    async def with_email(self, email: str) -> CustomerView | None:
        """See `Customers.with_email`."""
        self.require_granted()
        return next((one for one in self.known if one.email.lower() == email.strip().lower()), None)

    async def with_setting(self, field: str, value: str | int) -> CustomerView | None:
        """The customer that `settings` names."""
        self.require_granted()
        found = self.settings.get((field, value))
        return None if found is None else await self.get(found)

    async def create(self, email: str, *, plan: str | None = None) -> CustomerView:
        """See `Customers.create`."""
        if await self.with_email(email) is not None:
            raise Conflict("a customer with this email exists")
        number = max((one.id for one in self.known), default=0) + 1
        made = CustomerView(number, email, plan or "starter", True, 20 * 10**9, datetime.now(UTC))
        self.known.append(made)
        return made
