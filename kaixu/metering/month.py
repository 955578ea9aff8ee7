"""The figures of a month, as admission and settlement return them."""

from __future__ import annotations

from datetime import date
from typing import Protocol

import msgspec

from kaixu.store.admission import Settled, Verdict


class Figures(msgspec.Struct, frozen=True):
    """A month of a customer and of one of its keys, in nano-dollars.

    The customer's cap includes what was topped up; `key_cap_nusd` is None where
    only the customer's cap binds.
    """

    month: date
    customer_cap_nusd: int
    customer_spent_nusd: int
    customer_held_nusd: int
    key_cap_nusd: int | None
    key_spent_nusd: int
    key_held_nusd: int

    @property
    def available_nusd(self) -> int:
        """What a call may still cost: the smaller of what the customer's and the key's cap leave."""
        room = self.customer_cap_nusd - self.customer_spent_nusd - self.customer_held_nusd
        if self.key_cap_nusd is not None:
            room = min(room, self.key_cap_nusd - self.key_spent_nusd - self.key_held_nusd)
        return max(0, room)


class EndUserFigures(Protocol):
    """The month of a call's end user, in nano-dollars; None: the call names none."""

    @property
    def end_user_cap_nusd(self) -> int | None: ...
    @property
    def end_user_spent_nusd(self) -> int | None: ...
    @property
    def end_user_held_nusd(self) -> int | None: ...


def figures_of(source: Verdict | Settled) -> Figures:
    """The figures that admission or settlement returned."""
    return Figures(
        month=source.month,
        customer_cap_nusd=source.customer_cap_nusd or 0,
        customer_spent_nusd=source.customer_spent_nusd or 0,
        customer_held_nusd=source.customer_held_nusd or 0,
        key_cap_nusd=source.key_cap_nusd,
        key_spent_nusd=source.key_spent_nusd or 0,
        key_held_nusd=source.key_held_nusd or 0,
    )
