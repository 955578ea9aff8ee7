"""The maximum and the actual cost of an integration's operation: whole nano-dollars, rounded once."""

from __future__ import annotations

from collections.abc import Mapping

from kaixu.plugin.errors import TooLarge
from kaixu.plugin.operation import Charge, Free, PerCall, PerUnit

#: More than any real count; keeps products of units and prices within 64 bits.
MOST_UNITS = 10**12

#: The most that vendors charge for one call: a million dollars.
MOST_VENDOR_COST_NUSD = 10**15

#: What the gateway writes into an event beside the units: no plugin may write it there.
RESERVED = frozenset({"call", "undelivered", "unbilled_nusd"})


class Meter:
    """Counts the units of one call, and prices them by its charge. `price_nusd`: of the charge, in nano-dollars.

    `most`: the units that the call may use; by default the charge's own number.
    """

    def __init__(self, charge: Charge, price_nusd: int, most: int | None = None) -> None:
        self.charge = charge
        self.price_nusd = price_nusd
        self.most = most_units(charge) if most is None else most
        self.units: dict[str, int] = {}
        self.plugin_units: set[str] = set()  # counted by the plugin itself
        self.vendor_cost_nusd: int | None = None  # None: the plugin has not said what its vendors charge

    @property
    def book(self) -> str:
        """The customer's book that the call is billed in."""
        return "ai" if isinstance(self.charge, Free) else self.charge.book

    @property
    def is_counted_by_plugin(self) -> bool:
        """Whether the units that the charge is for were counted by the plugin, and not by the core alone."""
        return isinstance(self.charge, PerUnit) and self.charge.unit in self.plugin_units

    @property
    def most_nusd(self) -> int:
        """The most that the call can cost."""
        return most_nusd(self.charge, self.price_nusd, self.most)

    @property
    def cost_nusd(self) -> int:
        """What it costs with the units counted so far."""
        return cost_nusd(self.charge, self.price_nusd, self.units)

    def count_for_plugin(self, unit: str, n: int) -> None:
        """Count what the plugin reports. Raises as `count`, and `ValueError` for a name that events use themselves."""
        if unit in RESERVED:
            raise ValueError(f"a unit cannot be called {unit!r}: usage events use this name themselves")
        self.count(unit, n)
        self.plugin_units.add(unit)

    def add_vendor_cost(self, n: int) -> None:
        """Add what a vendor charges. Raises `ValueError`."""
        if isinstance(n, bool) or not isinstance(n, int) or not 0 <= n <= MOST_VENDOR_COST_NUSD:
            raise ValueError(f"a vendor's cost is 0 to {MOST_VENDOR_COST_NUSD} nano-dollars, not {n!r:.40}")
        self.vendor_cost_nusd = min((self.vendor_cost_nusd or 0) + n, MOST_VENDOR_COST_NUSD)

    def count(self, unit: str, n: int) -> None:
        """Count `n` more. Raises `ValueError` for what cannot be counted, `TooLarge` beyond the charge's `most`."""
        if not unit.isidentifier() or isinstance(n, bool) or not isinstance(n, int) or not 0 <= n <= MOST_UNITS:
            raise ValueError(f"cannot count {n!r} of {unit!r}: units are whole numbers from 0 on")
        self.require_room(unit, n)
        self.units[unit] = min(self.units.get(unit, 0) + n, MOST_UNITS)

    def require_room(self, unit: str, n: int) -> None:
        """Check that `n` more can be counted. Raises `TooLarge` beyond the charge's `most`."""
        total = self.units.get(unit, 0) + n
        if isinstance(self.charge, PerUnit) and unit == self.charge.unit and total > self.most:
            raise TooLarge(f"{total} {unit} are more than the {self.most} that one call may use")


def most_units(charge: Charge) -> int:
    """The units that any call may use by the charge's own number; 0 where that follows from the input."""
    return charge.most if isinstance(charge, PerUnit) and isinstance(charge.most, int) else 0


def most_nusd(charge: Charge, price_nusd: int, most: int | None = None) -> int:
    """The most that one call can cost, which may use `most` units."""
    match charge:
        case Free():
            return 0
        case PerCall():
            return price_nusd
        case PerUnit(per=per):
            return divided_half_up((most_units(charge) if most is None else most) * price_nusd, per)


def cost_nusd(charge: Charge, price_nusd: int, units: Mapping[str, int]) -> int:
    """What one call costs that has used `units`."""
    match charge:
        case Free():
            return 0
        case PerCall():
            return price_nusd
        case PerUnit(_, unit, _, per):
            return divided_half_up(units.get(unit, 0) * price_nusd, per)


def divided_half_up(total: int, per: int) -> int:
    """`total` / `per`, half up."""
    return (2 * total + per) // (2 * per)
