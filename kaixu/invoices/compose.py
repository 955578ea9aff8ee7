"""Composes an invoice from a month's figures: the snapshot that is shown, hashed, printed and stored."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import msgspec

from kaixu.config.invoices_section import InvoicesSection
from kaixu.config.price import cents_of_nusd, in_cents, usd
from kaixu.ops.instants import iso_instant
from kaixu.store.billing import Billing
from kaixu.store.customers import Customer
from kaixu.store.invoices import Figure, KeyName, Line, Payment

from .amounts import Totals, totals_of
from .tax import Tax, percent, tax_of

#: The book whose statement stands where invoices of the older edition have that of pushes.
PUSH = "push"


class Material(msgspec.Struct, frozen=True):
    """All that an invoice is made of, read at one moment. `forgiven`: what credit notes took back, by month.

    `settings`: the customer's settings of integrations that stand for fields of the customer. `own_books`: those with
    caps of their own, which never draw on the customer's. `statements`: what books show of the month, by book.
    `rolls_over`: whether unspent credit is carried into the next month.
    """

    customer: Customer
    billing: Billing
    month: date
    figures: list[Figure]
    keys: list[KeyName]
    payments: list[Payment]
    at: datetime
    forgiven: dict[date, int] = {}
    settings: dict[str, Any] = {}
    own_books: frozenset[str] = frozenset()
    statements: dict[str, dict[str, Any]] = {}
    rolls_over: bool = False


class Composed(msgspec.Struct, frozen=True):
    """An invoice before it has a number."""

    snapshot: dict[str, Any]
    lines: list[Line]
    totals: Totals


def compose(material: Material, section: InvoicesSection) -> Composed:
    """The invoice of a month as it is at this moment."""
    used = [one for one in material.figures if not one.billed]
    of_month = [one for one in used if one.month == material.month]
    lines = lines_of(material)
    tax = tax_of(section, material.billing)
    totals = totals_of([line.amount_nusd for line in lines], tax.rate)
    prepaid_nusd = sum(one.amount_nusd for one in material.payments if one.status == "applied")
    prepaid_cents = cents_of_nusd(max(0, prepaid_nusd))
    applied_cents = max(0, min(prepaid_cents, totals.total_cents))
    amounts = {
        "net_nusd": totals.net_nusd,
        "net_usd": usd(totals.net_nusd),
        "net_cents": totals.net_cents,
        "tax_cents": totals.tax_cents,
        "total_cents": totals.total_cents,
        "prepaid_cents": prepaid_cents,
        "prepaid_applied_cents": applied_cents,
        "due_cents": totals.total_cents - applied_cents,
        "debt_cents": cents_of_nusd(max(0, -prepaid_nusd)),  # credit that was taken back: paid by a credit, not billed
    }
    customer, settings = material.customer, material.settings
    snapshot = {
        "kind": "invoice",
        "status": "draft",
        "number": None,
        "generated_at": iso_instant(material.at),
        "issue_date": None,
        "due_date": None,
        "month": f"{material.month:%Y-%m}",
        "period": {"from": str(material.month), "to": str(last_day(material.month))},
        "zone": "UTC",
        "currency": "USD",
        "seller": None if section.seller is None else section.seller.model_dump(mode="json"),
        "customer": {
            "id": customer.id,
            "email": customer.email,
            "plan_name": customer.plan_name,
            "monthly_cap_cents": cents_of_nusd(customer.monthly_cap_nusd),
            "stripe_customer_id": settings.get("stripe_customer_id"),
            "billing": billing_json(material.billing),
        },
        "totals": usage_totals(material, of_month),
        "amounts": amounts,
        "taxes": [tax_json(tax, totals)],
        "lines": lines_json(lines, totals, of_month, material.keys, material.month),
        "keys": keys_json(of_month, material.keys),
        "topups": [payment_json(one) for one in material.payments],
        "unspent_credit": None if prepaid_nusd <= 0 else "rolls_over" if material.rolls_over else "ends",
        "auto_topup": {
            "enabled": settings.get("auto_topup_enabled", False),
            "threshold_cents": settings.get("auto_topup_threshold_cents"),
            "amount_cents": settings.get("auto_topup_amount_cents"),
        },
        "push": material.statements.get(PUSH),
        "books": material.statements,
        "second_currency": in_second_currency(section, amounts),
        "footer": section.footer,
    }
    return Composed(snapshot, lines, totals)


def lines_of(material: Material) -> list[Line]:
    """The month's usage by book and model; then, by month, what differs from earlier invoices in force."""
    usage: dict[tuple[date, str, str, str], int] = defaultdict(int)
    differences: dict[tuple[date, str, str, str], int] = defaultdict(int)
    for one in material.figures:
        is_usage = one.month == material.month and not one.billed
        kind = usage if is_usage else differences
        kind[one.month, one.book, one.provider, one.model] += one.amount_nusd
    for month, forgiven in material.forgiven.items():
        if month != material.month:
            keep_forgiven(differences, month, least=forgiven - billed_in(material.figures, month))
    rows = [*sorted(usage.items()), *sorted((what, amount) for what, amount in differences.items() if amount)]
    return [Line(number, *what, amount) for number, (what, amount) in enumerate(rows, 1)]


def billed_in(figures: Sequence[Figure], month: date) -> int:
    """What invoices in force bill for the usage of a month; 0 where nothing of it has changed."""
    return -sum(one.amount_nusd for one in figures if one.billed and one.month == month)


def keep_forgiven(differences: dict[tuple[date, str, str, str], int], month: date, *, least: int) -> None:
    """Raise a month's corrections to `least` in all, or to 0.

    What a credit note has taken back is not given back again by late truth: nobody gets more than was billed.
    """
    of_month = sorted((what for what in differences if what[0] == month), key=lambda what: differences[what])
    excess = min(0, least) - sum(differences[what] for what in of_month)
    for what in of_month:
        if excess <= 0:
            return
        raised = min(0, differences[what] + excess)
        excess -= max(0, raised - differences[what])
        differences[what] = max(differences[what], raised)


def lines_json(
    lines: Sequence[Line], totals: Totals, of_month: Sequence[Figure], names: Sequence[KeyName], month: date
) -> list[dict[str, Any]]:
    """The lines; those of the month's usage with their calls, tokens and keys."""
    by_chain = {one.chain_id: one for one in names}
    seen: set[tuple[str, str, str]] = set()
    shown = []
    for line, cents in zip(lines, totals.line_cents, strict=True):
        what = (line.book, line.provider, line.model)
        # The first line of a model in the month is its usage; a second one corrects what was billed before.
        is_usage = line.month == month and what not in seen and any(figure_of(one) == what for one in of_month)
        parts = [one for one in of_month if figure_of(one) == what] if is_usage else []
        if is_usage:
            seen.add(what)
        shown.append(
            {
                "line": line.line,
                "kind": "usage" if is_usage else "correction",
                "month": f"{line.month:%Y-%m}",
                "book": line.book,
                "provider": line.provider,
                "model": line.model,
                "calls": sum(one.calls for one in parts),
                "input_tokens": sum(one.input_tokens for one in parts),
                "output_tokens": sum(one.output_tokens for one in parts),
                "amount_nusd": line.amount_nusd,
                "amount_usd": usd(line.amount_nusd),
                "amount_cents": cents,
                "keys": [
                    {**key_name(one.chain_id, by_chain), "calls": one.calls, "amount_nusd": one.amount_nusd}
                    for one in sorted(parts, key=lambda one: (-one.amount_nusd, one.chain_id))
                ],
            }
        )
    return shown


def figure_of(one: Figure) -> tuple[str, str, str]:
    """What a figure is about."""
    return one.book, one.provider, one.model


def key_name(chain_id: int, by_chain: dict[int, KeyName]) -> dict[str, Any]:
    """The newest key of a chain."""
    key = by_chain.get(chain_id)
    if key is None:
        return {"api_key_id": chain_id, "key_last4": "", "label": ""}
    return {"api_key_id": key.key_id, "key_last4": key.key_last4, "label": key.label}


def usage_totals(material: Material, of_month: Sequence[Figure]) -> dict[str, Any]:
    """The month's usage. Prepaid credit is no usage: `grand_total_cents` leaves it out."""
    spent = sum(one.amount_nusd for one in of_month)
    push = sum(one.amount_nusd for one in of_month if one.book in material.own_books)
    grand_cents, push_cents = cents_of_nusd(spent), cents_of_nusd(push)
    input_tokens = sum(one.input_tokens for one in of_month)
    output_tokens = sum(one.output_tokens for one in of_month)
    return {
        "cap_cents": cents_of_nusd(material.customer.monthly_cap_nusd),
        "extra_cents": cents_of_nusd(sum(one.amount_nusd for one in material.payments if one.status == "applied")),
        "spent_cents": grand_cents - push_cents,
        "spent_usd": usd(spent - push),
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "total_tokens": input_tokens + output_tokens,
        "calls": sum(one.calls for one in of_month),
        "push_total_cents": push_cents,
        "grand_total_cents": grand_cents,
        "grand_total_nusd": spent,
    }


def keys_json(of_month: Sequence[Figure], names: Sequence[KeyName]) -> list[dict[str, Any]]:
    """All keys of the customer with the month's usage, by spending; their cents add up."""
    by_chain: dict[int, list[Figure]] = {one.chain_id: [] for one in names}
    for one in of_month:
        by_chain.setdefault(one.chain_id, []).append(one)
    chains = list(by_chain)
    spent = [sum(one.amount_nusd for one in by_chain[chain]) for chain in chains]
    known = {one.chain_id: one for one in names}
    rows = [
        {
            **key_name(chain, known),
            "spent_cents": cents,
            "spent_usd": usd(nusd),
            "spent_nusd": nusd,
            "input_tokens": sum(one.input_tokens for one in by_chain[chain]),
            "output_tokens": sum(one.output_tokens for one in by_chain[chain]),
            "calls": sum(one.calls for one in by_chain[chain]),
        }
        for chain, nusd, cents in zip(chains, spent, in_cents(spent), strict=True)
    ]
    return sorted(rows, key=lambda row: (-row["spent_nusd"], row["api_key_id"]))


def tax_json(tax: Tax, totals: Totals) -> dict[str, Any]:
    """The tax of one rate."""
    return {
        "name": tax.name,
        "rate": percent(tax.rate),
        "rate_hundredths": tax.rate,
        "net_nusd": totals.net_nusd,
        "net_cents": totals.net_cents,
        "tax_cents": totals.tax_cents,
        "note": tax.note,
    }


def billing_json(row: Billing) -> dict[str, Any]:
    """Who is billed."""
    return {
        "name": row.name,
        "address": row.address,
        "country": row.country,
        "tax_id": row.tax_id,
        "email": row.email,
        "tax_rate_hundredths": row.tax_rate,
        "tax_note": row.tax_note,
    }


def payment_json(one: Payment) -> dict[str, Any]:
    """A top-up, what was taken back, or what was carried from or to another month."""
    return {
        "amount_cents": cents_of_nusd(one.amount_nusd),
        "source": one.source,
        "stripe_session_id": one.reference if one.source == "stripe" else None,
        "reference": one.reference,
        "status": one.status,
        "created_at": iso_instant(one.created_at),
    }


def in_second_currency(section: InvoicesSection, amounts: dict[str, Any]) -> dict[str, Any] | None:
    """The totals in the second currency, with its rate, day and source."""
    second = section.second_currency
    if second is None:
        return None
    shown = {
        name: str((Decimal(amounts[name]) * second.rate / 100).quantize(Decimal("0.01"), ROUND_HALF_UP))
        for name in ("net_cents", "tax_cents", "total_cents", "due_cents")
    }
    return {
        "currency": second.currency,
        "rate": f"{second.rate:f}",
        "date": str(second.date),
        "source": second.source,
        **{name.removesuffix("_cents"): amount for name, amount in shown.items()},
    }


def with_number(snapshot: dict[str, Any], name: str, issued_at: datetime, due_days: int) -> dict[str, Any]:
    """The snapshot as it is issued."""
    issued = issued_at.astimezone(UTC).date()
    return snapshot | {
        "status": "final",
        "number": name,
        "issue_date": str(issued),
        "due_date": str(issued + timedelta(days=due_days)),
        "generated_at": iso_instant(issued_at),
    }


def last_day(month: date) -> date:
    """The last day of a month."""
    return (month + timedelta(days=31)).replace(day=1) - timedelta(days=1)
