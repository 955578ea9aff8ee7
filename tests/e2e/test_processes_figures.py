"""The metrics of several processes as one, and how many processes there are: the arithmetic, without processes."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from kaixu.gateway.processes.count import available_cores, connections_advice, fitting
from kaixu.gateway.processes.figures import Family, Totals, merged, snapshot


def process(calls: int, running: int) -> list[Family]:
    """The figures of one process."""
    registry = CollectorRegistry()
    Counter("calls", "Calls.", ["end"], registry=registry).labels("complete").inc(calls)
    times = Histogram("seconds", "Times.", buckets=(0.1, 1.0), registry=registry)
    for _ in range(calls):
        times.observe(0.5)
    Gauge("running", "Now.", registry=registry).set(running)
    Gauge("waiting", "In the database.", registry=registry).set(7)
    return snapshot(registry.collect())


def values(families: list[Family]) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """All samples but those that say when a metric began."""
    return {
        (name, tuple(labels.items())): value
        for _, _, _, samples in families
        for name, labels, value in samples
        if not name.endswith("_created")
    }


def test_counts_are_added_gauges_are_told_apart_and_what_has_ended_still_counts() -> None:
    ended = Totals()
    ended.add(process(5, 9))
    found = list(merged(process(2, 1), {"0": process(2, 1), "1": process(3, 4)}, ended.all(), frozenset({"waiting"})))
    assert values(found) == {
        ("calls_total", (("end", "complete"),)): 10,
        ("seconds_bucket", (("le", "0.1"),)): 0,
        ("seconds_bucket", (("le", "1.0"),)): 10,
        ("seconds_bucket", (("le", "+Inf"),)): 10,
        ("seconds_count", ()): 10,
        ("seconds_sum", ()): 5,
        ("running", (("worker", "0"),)): 1,
        ("running", (("worker", "1"),)): 4,
        ("waiting", ()): 7,
    }


@pytest.mark.parametrize(
    ("limit", "most"), [("max 100000", 10**6), ("50000 100000", 1), ("nonsense", 10**6)], ids=["none", "half", "odd"]
)
def test_auto_keeps_within_the_limit_of_its_container(limit: str, most: int, tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text(limit)
    assert 1 <= available_cores(tmp_path / "cpu.max") <= most


def test_auto_keeps_within_the_connections_of_the_database_and_says_what_to_set() -> None:
    assert fitting(16, 20, 97) == 4
    assert fitting(2, 20, 97) == 2
    assert fitting(16, 200, 97) == 1
    assert "`max_connections` of Postgres to 330 or more" in connections_advice(16, 20, 97)
