"""Money as whole numbers: USD per million tokens → nano-dollars, and nano-dollars → what people read."""

from __future__ import annotations

from decimal import Decimal

import msgspec

NUSD_PER_USD = 1_000_000_000
NUSD_PER_CENT = 10_000_000

#: Dearer than any model ever was; keeps products of tokens and rates far from the edge of 64 bits.
MOST_USD = 1_000_000


class Price(msgspec.Struct, frozen=True):
    """Rates in nano-dollars per million tokens, by kind of token."""

    input: int
    output: int
    cached_input: int
    cache_write: int
    reasoning: int


def rate_nusd(usd_per_million: Decimal) -> int:
    """USD per million tokens as nano-dollars per million tokens, exactly.

    Raises `ValueError` for a price below zero, above a million dollars, or finer than a nano-dollar.
    """
    if not usd_per_million.is_finite() or usd_per_million < 0:
        raise ValueError("a price is a number of US dollars, 0 or more")
    if usd_per_million > MOST_USD:
        raise ValueError(f"a price is at most {MOST_USD} US dollars per million tokens")
    scaled = usd_per_million * NUSD_PER_USD
    if scaled != scaled.to_integral_value():
        raise ValueError("a price has at most 9 decimals")
    return int(scaled)


def usd(nusd: int) -> str:
    """Nano-dollars as dollars, exactly: at least two decimals, at most nine, never an exponent."""
    sign = "-" if nusd < 0 else ""
    whole, fraction = divmod(abs(nusd), NUSD_PER_USD)
    decimals = f"{fraction:09d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole}.{decimals}"


def nusd_of_cents(cents: int) -> int:
    """Cents as nano-dollars."""
    return cents * NUSD_PER_CENT


def cents_of_nusd(nusd: int) -> int:
    """Nano-dollars as cents, rounded half up; for display only, never stored and never added up."""
    return (nusd + NUSD_PER_CENT // 2) // NUSD_PER_CENT
