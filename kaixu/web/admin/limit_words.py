"""Limits in words: what they are called, and which one holds where a key or a customer has none of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kaixu.web.components import Cell, Money, Muted, Number, Stack
from kaixu.web.formats import usd_of_cents

#: The caps as the API names them.
LIMITS = {
    "customer_cap": "customer cap",
    "customer_day_cap": "customer's cap of a day",
    "key_cap": "key cap",
    "key_day_cap": "key's cap of a day",
    "group_cap": "group cap",
    "group_day_cap": "group's cap of a day",
}


def limit_name(name: str | None) -> str:
    """A cap in words."""
    return LIMITS.get(name or "", name or "")


def cents_text(cents: int | None) -> str | None:
    """Cents as dollars; None stays None."""
    return None if cents is None else usd_of_cents(cents)


def thresholds_of(text: str) -> str | list[int] | None:
    """The thresholds of alerts that a form gave, for the API: “none” for no alerts, empty for those of above."""
    return [] if text.lower() == "none" else text or None


def number_or(value: int | None, otherwise: str, unit: str = "") -> Cell:
    """A number of its own, or which one holds instead."""
    return Muted(otherwise) if value is None else Number(value, unit)


def money_or(cents: int | None, otherwise: str) -> Cell:
    """An amount of its own, or which one holds instead."""
    return Muted(otherwise) if cents is None else Money(cents_text(cents))


def from_plan(value: Cell, name: str, row: Mapping[str, Any]) -> Cell:
    """A value, and that it comes from the plan where it does."""
    return Stack([value, Muted("from the plan")]) if name in row["from_plan"] else value


def names_of(listed: list[str] | None, *, everything: str, nothing: str) -> Cell:
    """An allowlist of names."""
    if listed is None:
        return Muted(everything)
    return ", ".join(listed) if listed else Muted(nothing)


def models_of(listed: Mapping[str, list[str]] | None, *, everything: str) -> Cell:
    """An allowlist of models: provider/model each."""
    if listed is None:
        return Muted(everything)
    names = [f"{provider}/{model}" for provider, models in listed.items() for model in models]
    return ", ".join(names) if names else Muted("no model")
