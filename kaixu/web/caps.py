"""How far a cap is used: its colour and its bar, the same on all pages."""

from __future__ import annotations

from decimal import Decimal

from .components import Meter, State

#: From this part of a cap on, it is nearly used.
NEAR_PERCENT = 90


def cap_state(used: Decimal | int, cap: Decimal | int) -> State:
    """The colour of a cap that is used this far, calls in flight included."""
    if used >= cap:
        return "bad"
    return "warn" if used * 100 >= cap * NEAR_PERCENT else "info"


def cap_meter(used: Decimal | int, cap: Decimal | int, text: str = "") -> Meter:
    """The bar of a cap; one of 0 is full."""
    return Meter(float(used), float(cap), text, cap_state(used, cap)) if cap else Meter(1, 1, text, "bad")


def percent_of(part: Decimal, whole: Decimal) -> str:
    """A part in whole percent, in words; of nothing everything is used."""
    percent = 100 * part / whole if whole else Decimal(100)
    return f"{percent:.0f} %" if percent >= 1 or not percent else "< 1 %"
