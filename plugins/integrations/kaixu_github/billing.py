"""What pushes cost: a price for each that lands, one for the bytes of its ZIP, and one for a month."""

from __future__ import annotations

from typing import Any

from kaixu.plugin import Book, BookFacts, BookMonth, Failure, KeyedCharge, Monthly, PerCall, PerUnit

GIB = 1 << 30


def cap_reached(facts: BookFacts) -> Failure:
    """The book's cap has no room for a push."""
    return Failure(
        402,
        "GITHUB_CAP_REACHED",
        "The monthly cap for pushes to GitHub is reached",
        hint="Ask your operator for a higher cap, or wait for the next month (UTC).",
        fields={
            "month": f"{facts.month.month:%Y-%m}",
            "pricing_version": facts.month.pricing_version,
            "monthly_cap_cents": facts.cap_nusd // 10**7,
            "left_cents": facts.left_nusd // 10**7,
        },
    )


def statement(month: BookMonth) -> dict[str, Any]:
    """What invoices, and the charges that a customer asks for, show of a month."""
    pushes, sent, billed = month.line("push"), month.line("gib"), month.line_cents()
    return {
        "pricing_version": "env" if month.pricing_version == "default" else month.pricing_version,
        "base_month_cents": price_cents(month, "base"),
        "per_push_cents": price_cents(month, "push"),
        "per_gb_cents": price_cents(month, "gib"),
        "pushes_done": pushes.count,
        "bytes_uploaded": sent.units,
        "gb_estimate": round(sent.units / GIB, 3),
        "push_cost_cents": billed.get("push", 0),
        "storage_cost_cents": billed.get("gib", 0),
        "total_cents": month.spent_cents,
    }


def price_cents(month: BookMonth, charge: str) -> int:
    """The price of a charge in this month's version."""
    price = month.prices.get(charge)
    return 0 if price is None else price.cents


BOOK = Book("github", title="GitHub push", cap="cap", version="price_list", refused=cap_reached, statement=statement)

CHARGES: list[KeyedCharge] = [
    PerCall("push", book="github"),
    PerUnit("gib", unit="bytes", per=GIB, book="github"),
    Monthly("base", book="github"),
]
