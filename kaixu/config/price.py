"""Converts money: US dollars to whole nano-dollars, and nano-dollars to text and cents."""

from __future__ import annotations

from decimal import Decimal
from typing import Protocol

import msgspec

from kaixu.plugin.cents import NUSD_PER_CENT as NUSD_PER_CENT
from kaixu.plugin.cents import cents_of_nusd as cents_of_nusd
from kaixu.plugin.cents import in_cents as in_cents

NUSD_PER_USD = 1_000_000_000

#: Above any real price; keeps the product of tokens and rates within 64 bits.
MOST_USD = 1_000_000

#: More digits than any real price; limits the arithmetic below.
MOST_DIGITS = 40


#: The kinds of tokens that are billed, by the kind of model.
CHARGED = {
    "chat": ("input", "output", "cached_input", "cache_write", "reasoning"),
    "embed": ("input", "cached_input", "cache_write"),
}


class Price(msgspec.Struct, frozen=True):
    """Rates in nano-dollars per million tokens, by kind of token."""

    input: int
    output: int
    cached_input: int
    cache_write: int
    reasoning: int


class Rates(Protocol):
    """A price as in kaixu.yaml, in USD per million tokens; None means the default."""

    @property
    def input(self) -> Decimal: ...
    @property
    def output(self) -> Decimal: ...
    @property
    def cached_input(self) -> Decimal | None: ...
    @property
    def cache_write(self) -> Decimal | None: ...
    @property
    def reasoning(self) -> Decimal | None: ...


def price_of(rates: Rates) -> Price:
    """`rates` in nano-dollars.

    Without rates of their own, cached input and cache writes cost as input, reasoning as output.
    """

    def rate(own: Decimal | None, default: Decimal) -> int:
        return rate_nusd(default if own is None else own)

    return Price(
        input=rate_nusd(rates.input),
        output=rate_nusd(rates.output),
        cached_input=rate(rates.cached_input, rates.input),
        cache_write=rate(rates.cache_write, rates.input),
        reasoning=rate(rates.reasoning, rates.output),
    )


def rate_nusd(usd_amount: Decimal) -> int:
    """US dollars as nano-dollars, exactly.

    Raises `ValueError` for a price below zero, above a million dollars, or finer than a nano-dollar.
    """
    if not usd_amount.is_finite() or usd_amount < 0:
        raise ValueError("a price is a number of US dollars, 0 or more")
    if usd_amount > MOST_USD:
        raise ValueError(f"a price is at most {MOST_USD} US dollars")
    if usd_amount.is_zero():
        return 0
    # Integers, because Decimal rounds to 28 digits.
    _, digits, exponent = usd_amount.as_tuple()
    assert isinstance(exponent, int)
    if len(digits) > MOST_DIGITS or exponent < -MOST_DIGITS:
        raise ValueError("a price has at most 9 decimals")
    shift: int = 10 ** (exponent + MOST_DIGITS)
    one: int = 10**MOST_DIGITS
    nusd, rest = divmod(int("".join(map(str, digits))) * shift * NUSD_PER_USD, one)
    if rest:
        raise ValueError("a price has at most 9 decimals")
    return nusd


def marked_up(nusd: int, percent: Decimal) -> int:
    """An amount plus `percent` of it, computed exactly and rounded half up to the nano-dollar."""
    parts, whole = percent.as_integer_ratio()
    return (2 * nusd * (100 * whole + parts) + 100 * whole) // (200 * whole)


def losses(price: Price | None, cost: Price | None, charged: tuple[str, ...]) -> list[str]:
    """The kinds of tokens whose price is below their cost."""
    if price is None or cost is None:
        return []
    return [kind for kind in charged if getattr(price, kind) < getattr(cost, kind)]


def usd(nusd: int) -> str:
    """Nano-dollars as dollars, exactly: at least two decimals, at most nine, never an exponent."""
    sign = "-" if nusd < 0 else ""
    whole, fraction = divmod(abs(nusd), NUSD_PER_USD)
    decimals = f"{fraction:09d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole}.{decimals}"


def factor_text(millionths: int) -> str:
    """A price factor as text, without needless zeros: "0.9"."""
    whole, fraction = divmod(millionths, 1_000_000)
    return f"{whole}.{fraction:06d}".rstrip("0").rstrip(".")


def nusd_of_cents(cents: int) -> int:
    """Cents as nano-dollars."""
    return cents * NUSD_PER_CENT
