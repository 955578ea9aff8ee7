"""Our counters and histograms look to Prometheus as those of its own library do."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import choose_encoder

from kaixu.ops import metric_families
from kaixu.ops.metric_families import CounterFamily, HistogramFamily

BOUNDS = (0.002, 0.5, 1, 10.0)
AMOUNTS = (0.0, 0.002, 0.0021, 0.5, 1, 3, 10, 10.5, 1e9, -1)


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text; version=1.0.0"], ids=["text", "openmetrics"])
def test_the_output_is_that_of_prometheus_client(accept: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metric_families, "time", lambda: 1700000000.25)
    monkeypatch.setattr("time.time", lambda: 1700000000.25)
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    names = ("model", "end")
    counters: list[Any] = [
        CounterFamily("things", "What was counted.", names, ours),
        Counter("things", "What was counted.", names, registry=theirs),
    ]
    histograms: list[Any] = [
        HistogramFamily("seconds", 'How "long".', names, BOUNDS, ours),
        Histogram("seconds", 'How "long".', names, buckets=BOUNDS, registry=theirs),
    ]
    for values in (("a", "good"), ('b"\n\\', ""), ("a", "bad")):
        counters[0].labels(*values).value += 3
        counters[0].labels(*values).value += 12_345_678_901_234
        counters[1].labels(*values).inc(3)
        counters[1].labels(*values).inc(12_345_678_901_234)
        for one in histograms:
            for amount in AMOUNTS:
                one.labels(*values).observe(amount)
    encode, _ = choose_encoder(accept)
    assert encode(ours).decode() == encode(theirs).decode()


def test_a_name_is_taken_once() -> None:
    registry = CollectorRegistry()
    CounterFamily("things", "", (), registry)
    with pytest.raises(ValueError, match="things"):
        HistogramFamily("things", "", (), (1,), registry)
