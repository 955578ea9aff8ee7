"""Charges of operations and jobs in words, for operators."""

from __future__ import annotations

from kaixu.config.price import usd
from kaixu.plugin.operation import Charge, Free, PerCall

from .catalog import IntegrationState


def describe_price(state: IntegrationState, charge: Charge) -> str:
    """A charge in words."""
    if isinstance(charge, Free):
        return f"free: {charge.why}"
    price = f"{usd(state.prices_nusd[charge.price])} USD"
    if isinstance(charge, PerCall):
        shown = f"{price} a call"
    else:
        shown = f"{price} per {charge.per:,} {charge.unit}, at most {charge.most:,} a call"
    return shown if charge.book == "ai" else f"{shown}, from the book `{charge.book}`"
