"""Credit that is carried, and debt, on invoices: what a month's invoice counts as paid, no other month's does."""

from __future__ import annotations

from typing import Any

import asyncpg
import msgspec

from kaixu.invoices.issue import finalize
from kaixu.invoices.pdf import invoice_pdf
from kaixu.store.plugin_credits import balance_of, set_rollover
from tests.support.money import customer, virtual_key

from .books import OCTOBER, SECTION, bill_to, call
from .test_pdf import text_of as shown

DOLLAR = 10**9
WHO: dict[str, Any] = {"actor": "test", "request_id": "r"}


def text_of(snapshot: dict[str, Any]) -> str:
    """What the PDF of an invoice says."""
    return " ".join(shown(invoice_pdf(msgspec.json.encode(snapshot).decode())).split())


async def invoice_of(pool: asyncpg.Pool, amounts: list[int]) -> tuple[int, dict[str, Any]]:
    """The October of a customer with a cap of 20 dollars that has spent 25; its credits in dollars, and its invoice."""
    customer_id = await customer(pool, cap_nusd=20 * DOLLAR)
    key_id, _ = await virtual_key(pool, customer_id)
    await bill_to(pool, customer_id)
    for at, amount in enumerate(amounts):
        await pool.fetch(
            "select * from kaixu.top_up($1, $2, $3, $4, 'manual')", f"k{at}", customer_id, OCTOBER, amount * DOLLAR
        )
        if not at:
            await call(pool, customer_id, key_id, OCTOBER, 25 * DOLLAR)
    stored, _ = await finalize(pool, SECTION, customer_id, OCTOBER, **WHO)
    return customer_id, msgspec.json.decode(stored.snapshot)


async def test_an_invoice_counts_the_credit_that_its_month_has_used(pool: asyncpg.Pool) -> None:
    await set_rollover(pool, rolls_over=True)
    customer_id, snapshot = await invoice_of(pool, [12])
    assert [(one["source"], one["amount_cents"]) for one in snapshot["topups"]] == [("manual", 1200), ("carried", -700)]
    amounts = snapshot["amounts"]
    assert (amounts["prepaid_applied_cents"], amounts["due_cents"]) == (500, amounts["total_cents"] - 500)
    assert snapshot["unspent_credit"] == "rolls_over"
    assert "carried into the next month" in text_of(snapshot)
    balance = await balance_of(pool, customer_id)
    assert (balance.carried_nusd, balance.unspent_nusd, balance.debt_nusd) == (7 * DOLLAR, 7 * DOLLAR, 0)


async def test_debt_is_carried_and_not_billed(pool: asyncpg.Pool) -> None:
    customer_id, snapshot = await invoice_of(pool, [12, -12])
    amounts = snapshot["amounts"]
    assert (amounts["prepaid_applied_cents"], amounts["debt_cents"]) == (500, 0)
    balance = await balance_of(pool, customer_id)
    assert (balance.carried_nusd, balance.debt_nusd, balance.available_nusd) == (-5 * DOLLAR, 5 * DOLLAR, 0)


async def test_without_rollover_credit_ends_with_its_month(pool: asyncpg.Pool) -> None:
    customer_id, snapshot = await invoice_of(pool, [12])
    assert snapshot["amounts"]["prepaid_applied_cents"] == 1200
    assert snapshot["unspent_credit"] == "ends"
    assert "ends with this month" in text_of(snapshot)
    assert (await balance_of(pool, customer_id)).unspent_nusd == 0
