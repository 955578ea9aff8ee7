"""Cells about calls, the same for operators and customers: how one ended, what it cost, how long it took."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .components import Badge, Cell, Money, Muted, Number, Stack, State

#: How a call ended: its colour, and words for it.
ENDS: dict[str, tuple[State, str]] = {
    "complete": ("good", "complete"),
    "client_gone": ("warn", "client left"),
    "upstream_error": ("bad", "vendor broke off"),
    "budget_cut": ("warn", "ended at its budget"),
    "undelivered": ("bad", "not delivered"),
    "lost": ("bad", "lost"),
}
HINTS = {
    "client_gone": "The client closed the connection before the end.",
    "upstream_error": "The vendor failed after its first output.",
    "budget_cut": "It used up what was reserved for it.",
    "undelivered": "What the vendor sent could not be delivered.",
    "lost": "Its gateway died; the true cost may be settled late.",
}


def end_badge(end: str) -> Badge:
    """How a call ended."""
    state, words = ENDS.get(end, ("info", end))
    return Badge(state, words, HINTS.get(end, ""))


def cents_cell(usd: str, cents: int) -> Cell:
    """A cost in dollars, exact on hover, and in cents below it."""
    return Stack([Money(usd), Muted(f"{cents:,} ¢")], lines=True)


def seconds(ms: int) -> Number:
    """A duration: in milliseconds below a second."""
    return Number(ms, "ms") if ms < 1000 else Number(ms / 1000, "s", 1)


#: What a call counts besides tokens, when it is one.
ONE = {"searches": "search", "vectors": "vector"}


def units_text(units: Mapping[str, Any] | None) -> str:
    """What a call counted besides tokens."""
    return ", ".join(
        f"{value} {ONE.get(name, name) if value == 1 else name.replace('_', ' ')}"
        for name, value in (units or {}).items()
    )
