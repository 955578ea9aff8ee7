"""What a chart draws: its series as exact decimals, those past the sixth as one."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from kaixu.web.components import Chart

from .figures import SUMMED, exact

MOST_SERIES = 6
OTHER = "Other"

Values = list[Decimal | None]


class DrawnSeries(msgspec.Struct, frozen=True):
    """A series as it is drawn. `style`: its class. `hidden`: how many series it stands for without showing them."""

    name: str
    values: Values
    style: str
    href: str = ""
    hidden: int = 0


def total(values: Sequence[Decimal | None]) -> Decimal | None:
    """The sum of those that are known; None if none is."""
    known = [value for value in values if value is not None]
    return sum(known, Decimal(0)) if known else None


def size_of(values: Values) -> Decimal:
    """How much of a chart a series fills."""
    return sum((abs(value) for value in values if value is not None), Decimal(0))


def exact_values(chart: Chart) -> list[Values]:
    """The values of each series. Raises `ValueError` for a value that cannot be drawn, and where values are missing."""
    for series in chart.series:
        if len(series.values) != len(chart.labels):
            raise ValueError(f"series {series.name!r} has {len(series.values)} values for {len(chart.labels)} labels")
    return [[None if value is None else exact(value) for value in series.values] for series in chart.series]


def drawn_series(chart: Chart) -> list[DrawnSeries]:
    """The series of a chart in their order; if there are more than six, the largest first and the rest as `Other`.

    A series that is called `Other` already is the last one, and takes what is folded. Where values cannot be added
    up, the rest is not drawn: the table has it.
    """
    named = list(zip(chart.series, exact_values(chart), strict=True))
    rest = [values for series, values in named if series.name.casefold() == OTHER.casefold()]
    shown = [(series, values) for series, values in named if series.name.casefold() != OTHER.casefold()]
    if len(shown) > MOST_SERIES:
        shown.sort(key=lambda pair: -size_of(pair[1]))
        rest += [values for _, values in shown[MOST_SERIES:]]
        del shown[MOST_SERIES:]
    drawn = [
        DrawnSeries(series.name, values, f"series-{position}", series.href)
        for position, (series, values) in enumerate(shown, 1)
    ]
    if rest and (chart.unit in SUMMED or len(rest) == 1):
        drawn.append(DrawnSeries(OTHER, [total(column) for column in zip(*rest, strict=True)], "series-other"))
    elif rest:
        drawn.append(DrawnSeries(f"{len(rest)} more", [None] * len(chart.labels), "series-other", hidden=len(rest)))
    return drawn
