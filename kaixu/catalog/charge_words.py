"""Charges of operations and jobs in words, for operators."""

from __future__ import annotations

from kaixu.config.price import usd
from kaixu.plugin.book import Monthly
from kaixu.plugin.operation import Charge, Free, Job, KeyedCharge, Operation, PerCall

from .catalog import IntegrationState


def describe_price(state: IntegrationState, one: Operation | Job) -> str:
    """What an operation or job costs, in words: its charge, and what it holds by key."""
    words = describe_charge(state, one.charge)
    charges = {} if state.integration is None else {charge.price: charge for charge in state.integration.charges}
    held = [
        f"`{name}`: {describe_charge(state, charges[name])}"
        for name in one.holds
        if name in charges and name in state.prices_nusd
    ]
    return f"{words}; holds {', '.join(held)}" if held else words


def describe_charge(state: IntegrationState, charge: Charge | KeyedCharge) -> str:
    """A charge in words."""
    if isinstance(charge, Free):
        return f"free: {charge.why}"
    price = f"{usd(state.prices_nusd[charge.price])} USD"
    if isinstance(charge, Monthly):
        shown = f"{price} a month"
    elif isinstance(charge, PerCall):
        shown = f"{price} a call"
    else:
        shown = f"{price} per {charge.per:,} {charge.unit}"
        if isinstance(charge.most, int):
            shown += f", at most {charge.most:,} a call"
        elif charge.most is not None:
            shown += ", at most what its input announces"
    return shown if charge.book == "ai" else f"{shown}, from the book `{charge.book}`"
