"""Nano-dollars in cents, for people: rounded once, and parts that add up to the rounded sum."""

from __future__ import annotations

from collections.abc import Sequence

NUSD_PER_CENT = 10_000_000


def cents_of_nusd(nusd: int) -> int:
    """Nano-dollars as cents, rounded half up; for display only, never stored and never added up."""
    return (nusd + NUSD_PER_CENT // 2) // NUSD_PER_CENT


def in_cents(amounts: Sequence[int]) -> list[int]:
    """Nano-dollars in cents that add up to the rounded sum: those with the largest remainders are rounded up."""
    cents = [amount // NUSD_PER_CENT for amount in amounts]
    missing = cents_of_nusd(sum(amounts)) - sum(cents)
    by_remainder = sorted(range(len(amounts)), key=lambda at: (-(amounts[at] % NUSD_PER_CENT), at))
    for at in by_remainder[:missing]:
        cents[at] += 1
    return cents
