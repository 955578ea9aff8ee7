"""The arithmetic of invoices: exact sums, rounded once, and parts that add up to them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from kaixu.config.price import in_cents

#: Rates of tax are in hundredths of a percent.
WHOLE_RATE = 10_000


class Totals(msgspec.Struct, frozen=True):
    """The amounts of an invoice. `net_nusd` is exact; `line_cents` add up to `net_cents`."""

    net_nusd: int
    line_cents: list[int]
    net_cents: int
    tax_cents: int
    total_cents: int


class Credit(msgspec.Struct, frozen=True):
    """The amounts of a credit note."""

    net_nusd: int
    net_cents: int
    tax_cents: int
    total_cents: int


def rounded(part: int, whole: int) -> int:
    """`part / whole`, rounded half up."""
    return (2 * part + whole) // (2 * whole)


def totals_of(amounts: Sequence[int], tax_rate: int) -> Totals:
    """The totals of lines in nano-dollars: rounded once, taxed once."""
    line_cents = in_cents(amounts)
    net_cents = sum(line_cents)
    tax_cents = rounded(net_cents * tax_rate, WHOLE_RATE)
    return Totals(sum(amounts), line_cents, net_cents, tax_cents, net_cents + tax_cents)


def credit_of(invoice: Totals, earlier: Sequence[Credit], *, net_nusd: int) -> Credit:
    """The next credit note over a part of an invoice's net, in nano-dollars.

    All credit notes together are rounded, and the earlier ones subtracted: if they credit the whole invoice, they add
    up to it to the cent.
    """
    credited = sum(one.net_nusd for one in earlier) + net_nusd
    total = rounded(credited * invoice.total_cents, invoice.net_nusd)
    return credit_up_to(invoice, earlier, total_cents=total, net_nusd=net_nusd)


def credit_of_cents(invoice: Totals, earlier: Sequence[Credit], *, total_cents: int) -> Credit:
    """The next credit note over an amount that includes the tax."""
    credited_nusd = sum(one.net_nusd for one in earlier)
    total = sum(one.total_cents for one in earlier) + total_cents
    # Rounded down, so that the share never exceeds what is left; the whole is exact.
    net_nusd = max(0, total * invoice.net_nusd // invoice.total_cents - credited_nusd)
    return credit_up_to(invoice, earlier, total_cents=total, net_nusd=net_nusd)


def credit_up_to(invoice: Totals, earlier: Sequence[Credit], *, total_cents: int, net_nusd: int) -> Credit:
    """The credit note after which `total_cents` of the invoice are credited in all."""
    tax_cents = rounded(total_cents * invoice.tax_cents, invoice.total_cents)
    tax = tax_cents - sum(one.tax_cents for one in earlier)
    total = total_cents - sum(one.total_cents for one in earlier)
    return Credit(net_nusd, total - tax, tax, total)
