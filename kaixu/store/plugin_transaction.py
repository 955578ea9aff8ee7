"""The transaction of an integration, as the gateway hands it to a handler: with tables or without."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol
from uuid import UUID

import asyncpg
import msgspec

from kaixu.plugin.database import Database
from kaixu.plugin.errors import NotFound
from kaixu.plugin.job import JobView
from kaixu.plugin.money import Balance
from kaixu.plugin.webhook import WebhookEvent

from .charge_effects import ChargingTransaction
from .customer_effects import CustomerEffects
from .jobs import NewJob
from .plugin_credits import GatheredCredits, balance_of
from .webhook_events import NewEvent


class MakeJob(Protocol):
    """Makes a job from its name, its payload, a delay in seconds, a unique key and the value that it runs alone for."""

    def __call__(
        self,
        name: str,
        payload: msgspec.Struct,
        delay_s: float,
        key: str | None,
        serial: str | None,
    ) -> NewJob: ...


class NotAllowed(Exception):
    """A plugin's statement is not allowed: it concerns more than the plugin's own tables."""


class MakeEvent(Protocol):
    """Makes an event that a webhook has not brought, with its job; None: one of a type that is not handled."""

    def __call__(self, webhook: str, event: WebhookEvent, body: bytes) -> NewEvent | None: ...


def no_webhooks(webhook: str, event: WebhookEvent, body: bytes) -> NewEvent | None:
    """For an integration without webhooks."""
    raise ValueError(f"the integration has no webhook `{webhook}`")


class HandledBefore(Exception):
    """The failure of a job has been handled by another transaction; this one is rolled back."""


class Transaction(Database, Protocol):
    """See `kaixu.plugin.Database`."""

    async def failure_handled(self, job_id: UUID) -> None:
        """Note, last in the transaction, that a job's failure is handled in it. Raises `HandledBefore`."""
        ...


@contextmanager
def known_customer() -> Iterator[None]:
    """Around the submission of a job for a customer that the plugin names. Raises `NotFound`."""
    try:
        yield
    except asyncpg.ForeignKeyViolationError as error:
        raise NotFound("there is no such customer", code="UNKNOWN_CUSTOMER") from error


class MoneyIn(ABC):
    """The part of a transaction that is about money: credits, which are booked last in it, and balances."""

    credits: GatheredCredits
    _gateway_pool: asyncpg.Pool

    @abstractmethod
    def _require_open(self) -> None:
        """Raises `TicketClosed`."""

    async def credit(
        self,
        customer_id: int,
        amount_nusd: int,
        *,
        key: str,
        month: str | None = None,
        source: str | None = None,
        reference: str | None = None,
    ) -> None:
        """See `kaixu.plugin.Database.credit`."""
        self._require_open()
        self.credits.add(customer_id, amount_nusd, key=key, month=month, source=source, reference=reference)

    async def balance(self, customer_id: int | None = None) -> Balance:
        """See `kaixu.plugin.Database.balance`."""
        self._require_open()
        return await balance_of(self._gateway_pool, self.credits.rights.customer_for(customer_id))


class CustomersTransaction(ChargingTransaction, MoneyIn, CustomerEffects):
    """What a transaction does for customers, with or without tables."""

    _customer_id: int | None
    _blobs_of: int | None

    def _customers(self) -> set[int]:
        """Whose rows are locked at the end, if any."""
        customers = self.effects.customers | self.credits.customers | self._charges.customers
        own = self._rights.customer_id
        return customers | {own} if self.credits.requests and own is not None else customers

    def _locks_first(self, customers: set[int]) -> bool:
        """Whether they are locked before credits and charges: rows of several are locked in one statement."""
        return bool(self.effects.effects) or len(customers) > 1

    def _customer_of_job(self, customer_id: int | None) -> int | None:
        self._require_open()
        return self._customer_id if customer_id is None else self._rights.customer_for(customer_id)

    def _owner_of_blobs(self, customer_id: int | None) -> int | None:
        self._require_open()
        return self._blobs_of if customer_id is None else self._rights.customer_for(customer_id)


def view_of(row: Mapping[str, Any] | None, job_id: UUID) -> JobView:
    """A row as its plugin sees it. Raises `NotFound` where there is none."""
    if row is None:
        raise NotFound(f"there is no job {job_id}", hint="Jobs are deleted some days after their end.")
    return JobView(row["status"], row["attempts"], row["next_at"], row["error"], row["done"], row["total"])
