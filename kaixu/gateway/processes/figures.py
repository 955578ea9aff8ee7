"""Metrics of several processes as one: counters and histograms are sums, gauges have a label `worker`.

The supervisor keeps the counts of processes that have ended, so that no sum ever falls.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

#: One family: name, help, type, and samples with their name, labels and value.
Sample = tuple[str, dict[str, str], float]
Family = tuple[str, str, str, list[Sample]]

#: Kinds of metrics that are added up.
ADDED = ("counter", "histogram", "summary")


def snapshot(families: Iterable[Any]) -> list[Family]:
    """What a registry of prometheus_client collects, as plain values."""
    return [
        (
            one.name,
            one.documentation,
            one.type,
            [(sample.name, dict(sample.labels), sample.value) for sample in one.samples],
        )
        for one in families
    ]


class Totals:
    """Families that are added up, in the order in which they came."""

    def __init__(self) -> None:
        self.families: dict[str, tuple[str, str, dict[tuple[str, tuple[tuple[str, str], ...]], float]]] = {}

    def add(self, families: Iterable[Family]) -> None:
        """Add the counters and histograms of one process."""
        for name, help_text, kind, samples in families:
            if kind not in ADDED:
                continue
            values = self.families.setdefault(name, (help_text, kind, {}))[2]
            for sample, labels, value in samples:
                key = sample, tuple(labels.items())
                if key not in values:
                    values[key] = value
                elif sample.endswith("_created"):
                    values[key] = min(values[key], value)
                else:
                    values[key] += value

    def all(self) -> list[Family]:
        """The sums."""
        return [
            (name, help_text, kind, [(sample, dict(labels), value) for (sample, labels), value in values.items()])
            for name, (help_text, kind, values) in self.families.items()
        ]


def merged(
    own: Iterable[Family], by_slot: Mapping[str, Iterable[Family]], ended: Iterable[Family], shared: frozenset[str]
) -> Iterator[Family]:
    """The figures of all workers. `own`: of the worker that was asked, for gauges of the database (`shared`)."""
    totals, gauges = Totals(), dict[str, tuple[str, str, list[Sample]]]()
    for slot, families in by_slot.items():
        families = list(families)
        totals.add(families)
        for name, help_text, kind, samples in families:
            if kind not in ADDED and name not in shared:
                gauges.setdefault(name, (help_text, kind, []))[2].extend(
                    (sample, {**labels, "worker": slot}, value) for sample, labels, value in samples
                )
    totals.add(ended)
    yield from totals.all()
    for name, (help_text, kind, samples) in gauges.items():
        yield name, help_text, kind, samples
    for family in own:
        if family[2] not in ADDED and family[0] in shared:
            yield family
