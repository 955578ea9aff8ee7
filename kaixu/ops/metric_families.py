"""Counters and histograms that cost calls next to nothing; `/metrics` shows them as those of prometheus_client.

For one thread, so without its locks: the event loop's, which counts and is scraped.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from math import inf
from time import time

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class CounterCell:
    """A counter with the values of its labels. Add to `value`; it must never fall."""

    __slots__ = ("created", "value")

    def __init__(self) -> None:
        self.value = 0.0
        self.created = time()


class CounterFamily(Collector):
    """All counters of one name."""

    def __init__(self, name: str, help_text: str, labels: tuple[str, ...], registry: CollectorRegistry) -> None:
        self.name = name
        self.help_text = help_text
        self.label_names = labels
        self.cells: dict[tuple[str, ...], CounterCell] = {}
        registry.register(self)

    def labels(self, *values: str) -> CounterCell:
        """The counter with these values, in the order of the names. Keep it: looking it up costs more than counting."""
        cell = self.cells.get(values)
        if cell is None:
            assert len(values) == len(self.label_names)
            cell = self.cells[values] = CounterCell()
        return cell

    def describe(self) -> Iterable[Metric]:
        """The name and help, without values."""
        return [Metric(self.name, self.help_text, "counter")]

    def collect(self) -> Iterable[Metric]:
        """All values."""
        family = Metric(self.name, self.help_text, "counter")
        for values, cell in self.cells.items():
            labels = dict(zip(self.label_names, values, strict=True))
            family.add_sample(f"{self.name}_total", labels, cell.value)
            family.add_sample(f"{self.name}_created", labels, cell.created)
        return [family]


class HistogramCell:
    """A histogram with the values of its labels. `counts`: how many amounts fell into each bucket alone."""

    __slots__ = ("bounds", "counts", "created", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * len(bounds)
        self.sum = 0.0
        self.created = time()

    def observe(self, amount: float) -> None:
        """Count one amount."""
        self.sum += amount
        self.counts[bisect_left(self.bounds, amount)] += 1


class HistogramFamily(Collector):
    """All histograms of one name. `bounds`: the highest amount of each bucket, rising; one without a bound is added."""

    def __init__(
        self,
        name: str,
        help_text: str,
        labels: tuple[str, ...],
        bounds: tuple[float, ...],
        registry: CollectorRegistry,
    ) -> None:
        self.name = name
        self.help_text = help_text
        self.label_names = labels
        self.bounds = (*bounds, inf)
        self.bound_names = [floatToGoString(one) for one in self.bounds]  # type: ignore[no-untyped-call]
        self.cells: dict[tuple[str, ...], HistogramCell] = {}
        registry.register(self)

    def labels(self, *values: str) -> HistogramCell:
        """The histogram with these values, in the order of the names."""
        cell = self.cells.get(values)
        if cell is None:
            assert len(values) == len(self.label_names)
            cell = self.cells[values] = HistogramCell(self.bounds)
        return cell

    def describe(self) -> Iterable[Metric]:
        """The name and help, without values."""
        return [Metric(self.name, self.help_text, "histogram")]

    def collect(self) -> Iterable[Metric]:
        """All values: of each bucket with those below it."""
        family = Metric(self.name, self.help_text, "histogram")
        for values, cell in self.cells.items():
            labels = dict(zip(self.label_names, values, strict=True))
            total = 0.0
            for bound, count in zip(self.bound_names, cell.counts, strict=True):
                total += count
                family.add_sample(f"{self.name}_bucket", {**labels, "le": bound}, total)
            family.add_sample(f"{self.name}_count", labels, total)
            family.add_sample(f"{self.name}_sum", labels, cell.sum)
            family.add_sample(f"{self.name}_created", labels, cell.created)
        return [family]
