"""The y axis: which values it marks, and how high a value stands."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import msgspec

#: How many steps an axis has, about.
STEPS = 5


class Scale(msgspec.Struct, frozen=True):
    """An axis from `low` to `high`, marked at `ticks`; zero is always on it. Heights are in pixels from the top."""

    ticks: list[Decimal]
    height: float

    @property
    def low(self) -> float:
        """The least value on the axis."""
        return float(self.ticks[0])

    @property
    def high(self) -> float:
        """The largest value on the axis."""
        return float(self.ticks[-1])

    def y(self, value: float) -> float:
        """How far below the top a value stands; never outside of the drawing."""
        part = (self.high - value) / (self.high - self.low)
        return min(max(part, 0.0), 1.0) * self.height


def scale_for(least: Decimal, most: Decimal, height: float, *, whole: bool) -> Scale:
    """An axis that holds `least`, `most` and zero, with steps of 1, 2 or 5 times a power of ten.

    `whole`: the steps are whole numbers (half a call does not exist).
    """
    least, most = min(least, Decimal(0)), max(most, Decimal(0))
    if least == most:
        return Scale([Decimal(0), Decimal(1)], height)
    step = step_for((most - least) / STEPS, whole=whole)
    first = (least / step).to_integral_value(ROUND_FLOOR)
    last = (most / step).to_integral_value(ROUND_CEILING)
    return Scale([(first + position) * step for position in range(int(last - first) + 1)], height)


def step_for(size: Decimal, *, whole: bool) -> Decimal:
    """The least step of 1, 2 or 5 times a power of ten that is at least `size`."""
    power = Decimal(1).scaleb(size.adjusted())
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= size)
    return max(step, Decimal(1)) if whole else step
