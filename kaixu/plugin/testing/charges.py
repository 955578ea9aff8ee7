"""Charges by key without a gateway: what a transaction asks for is written down."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal, NamedTuple

from kaixu.plugin.book import MOST_CHARGE_KEY, MOST_HELD_S, MOST_UNITS, Monthly
from kaixu.plugin.errors import HoldRefused
from kaixu.plugin.operation import KeyedCharge

from .effects import FakeEffects


class ChargeDone(NamedTuple):
    """One hold, charge or release that a transaction has done. `customer_id`: another customer than the call's."""

    kind: Literal["hold", "charge", "release"]
    charge: str
    key: str
    units: int = 1
    customer_id: int | None = None


class FakeCharges(FakeEffects):
    """The charges by key of a `FakeDatabase`. `refuses`: charges for which there is no room under a cap."""

    def __init__(self) -> None:
        super().__init__()
        self.declared: Mapping[str, KeyedCharge] | None = None  # None: any name
        self.asked: list[ChargeDone] = []
        self.refuses: set[str] = set()

    async def hold(
        self, charge: str, *, key: str, units: int = 1, for_s: float, customer_id: int | None = None
    ) -> None:
        """See `Database.hold`."""
        if not 0 < for_s <= MOST_HELD_S:
            raise ValueError(f"a charge can be held for up to {MOST_HELD_S:.0f} s, not for {for_s!r:.40}")
        self._ask(ChargeDone("hold", charge, key, units, customer_id))

    async def charge(
        self,
        charge: str,
        *,
        key: str,
        units: int = 1,
        at: datetime | None = None,
        customer_id: int | None = None,
    ) -> None:
        """See `Database.charge`."""
        if at is not None and at.tzinfo is None:
            raise ValueError("`at` must have a time zone")
        self._ask(ChargeDone("charge", charge, key, units, customer_id))

    async def release(self, charge: str, *, key: str, customer_id: int | None = None) -> None:
        """See `Database.release`."""
        self._ask(ChargeDone("release", charge, key, 1, customer_id))

    def _ask(self, one: ChargeDone) -> None:
        self._require_open()
        if one.customer_id is not None:
            number = self.customer_for(one.customer_id)
            one = one._replace(customer_id=None if number == self.customer_id else number)
        if self.declared is not None and (
            one.charge not in self.declared or isinstance(self.declared[one.charge], Monthly)
        ):
            raise ValueError(f"the integration declares no charge `{one.charge}` by key")
        if not 0 < len(one.key) <= MOST_CHARGE_KEY or not 0 <= one.units <= MOST_UNITS:
            raise ValueError(f"{one.units} of `{one.charge}` cannot be charged under the key {one.key!r:.40}")
        self.asked.append(one)

    def done(self) -> list[ChargeDone]:
        """What the transaction has done, at its end. Raises `HoldRefused`."""
        asked, self.asked = self.asked, []
        for one in asked:
            if one.kind == "hold" and one.charge in self.refuses:
                raise HoldRefused(f"there is no room under the cap for `{one.charge}`")
        return asked
