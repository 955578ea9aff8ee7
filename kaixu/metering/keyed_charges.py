"""Charges by key: whose a call may hold and bill, and the error for a hold that was refused."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from kaixu.catalog.catalog import IntegrationState
from kaixu.config.price import usd
from kaixu.plugin.book import Book, BookFacts
from kaixu.plugin.errors import Failure, HoldRefused
from kaixu.plugin.operation import Integration, Job, Operation
from kaixu.store.books import book_month
from kaixu.store.charge_effects import Charging, NoRoom, RefusedHold
from kaixu.store.plugin_databases import PluginDatabases
from kaixu.store.plugin_transaction import Transaction

from .submitter import Submitter

log = logging.getLogger(__name__)


def charging_of(
    integration: IntegrationState, submitter: Submitter, what: Operation | Job | None, charged_customer: int | None
) -> Charging:
    """Whose charges a call may hold and bill: those of its customer, or of nobody."""
    declared = integration.integration
    assert declared is not None
    return Charging(
        integration=integration.name,
        charges={charge.price: charge for charge in declared.charges},
        holds=frozenset(() if what is None else what.holds),
        request_id=submitter.request_id,
        customer_id=submitter.customer_id or charged_customer,
        key_id=submitter.key_id,
        install_id=submitter.install_id,
        app_id=submitter.app_id,
        build_id=submitter.build_id,
    )


@asynccontextmanager
async def charging_transaction(
    opened: AbstractAsyncContextManager[Transaction],
    databases: PluginDatabases,
    integration: Integration,
) -> AsyncIterator[Transaction]:
    """The same transaction; leaving it raises `HoldRefused` where a cap has no room, after it was rolled back."""
    try:
        async with opened as transaction:
            yield transaction
    except NoRoom as error:
        raise await refusal(databases, integration, error.charging, error.refused) from None


async def refusal(
    databases: PluginDatabases, integration: Integration, charging: Charging, refused: RefusedHold
) -> HoldRefused:
    """The error for a refused hold, in the words of its book."""
    cap, spent, held = refused.cap_nusd or 0, refused.spent_nusd or 0, refused.held_nusd or 0
    left, asked = max(0, cap - spent - held), refused.asked_nusd or 0
    book = next((one for one in integration.books if one.name == refused.book), Book(refused.book or ""))
    whose = f"the book `{book.title or book.name}`" if book.cap is not None else "the account, or its key,"
    error = HoldRefused(
        f"Monthly cap reached: {whose} has ${usd(left)} left of ${usd(cap)} (${usd(spent)} spent, ${usd(held)} held), "
        f"`{refused.charge}` needs ${usd(asked)}",
        hint="Ask your operator for a higher cap, or wait for the next month (UTC).",
    )
    error.needs_nusd, error.needs_book = asked, refused.book
    if book.refused is None:
        return error
    assert charging.customer_id is not None
    month = await book_month(databases.pool, charging.customer_id, book.name, refused.month)
    facts = BookFacts(month, refused.charge or "", refused.units or 0, asked, cap, left)
    try:
        own = book.refused(facts)
        if not isinstance(own, Failure):
            raise TypeError(f"`refused` of book `{book.name}` must return a Failure, not {own!r:.80}")
    except Exception:  # a bug in a plugin must not hide the refusal
        log.exception("`refused` of book %s failed", book.name)
        return error
    error = HoldRefused(own.message, hint=own.hint, retry_after_s=own.retry_after_s, code=own.code)
    error.status, error.figures = own.status, own.figures
    error.needs_nusd, error.needs_book = asked, refused.book
    return error
