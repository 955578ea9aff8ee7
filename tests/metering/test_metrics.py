"""Metrics below HTTP: their labels have few values, and each gateway has its own."""

from __future__ import annotations

from typing import Any

import pytest

from kaixu.catalog.catalog import Catalog
from kaixu.metering.metrics import MAX_CODES, OTHER, Metrics
from kaixu.ops.call_facts import CallFacts
from kaixu.ops.request_end import CLIENT_GONE, RequestEnd


def ended(path: str = "/api/gateway-chat", status: int = 200, **facts: Any) -> RequestEnd:
    """A request that has ended."""
    return RequestEnd(
        request_id="r",
        method="POST",
        path=path,
        function=path.rsplit("/", 1)[-1],
        status=status,
        duration_ms=12,
        request_bytes=1,
        response_bytes=1,
        is_client_gone=False,
        facts=CallFacts(**facts),
    )


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """A sample."""
    return metrics.registry.get_sample_value(name, labels)


def test_two_gateways_in_one_process_count_apart() -> None:
    first, second = Metrics(Catalog), Metrics(Catalog)
    first.serves(["/api/gateway-chat"])
    first.request_ended(ended())
    labels = {"function": "gateway-chat", "provider": "", "model": "", "status": "2xx"}
    assert value(first, "kaixu_requests_total", **labels) == 1
    assert value(second, "kaixu_requests_total", **labels) is None


@pytest.mark.parametrize(
    ("path", "function"),
    [
        ("/api/gateway-chat", "gateway-chat"),
        ("/v1/chat/completions", "completions"),
        ("/v1/files/file-123", "files"),
        ("/v1/files/file-123/content", "content"),
        ("/wp-login.php", OTHER),
        ("/", OTHER),
        ("/api/" + "x" * 5000, OTHER),
    ],
)
def test_a_function_is_one_that_is_served(path: str, function: str) -> None:
    metrics = Metrics(Catalog)
    metrics.serves(["/api/gateway-chat", "/v1/chat/completions", "/v1/files/<file_id>", "/v1/files/<file_id>/content"])
    assert metrics.function_of(path) == function


def test_models_that_kaixu_yaml_does_not_have_are_others() -> None:
    metrics = Metrics(Catalog)
    assert metrics.place("up", "invented") == (OTHER, OTHER)
    assert metrics.place(None, None) == ("", "")


def test_error_codes_beyond_a_number_are_others() -> None:
    metrics = Metrics(Catalog)
    for number in range(MAX_CODES + 50):
        metrics.request_ended(ended(status=500, error_code=f"CODE_{number}"))
    assert value(metrics, "kaixu_errors_total", function=OTHER, code=OTHER) == 50
    assert value(metrics, "kaixu_errors_total", function=OTHER, code="CODE_0") == 1


def test_a_client_that_left_has_a_status_of_its_own() -> None:
    metrics = Metrics(Catalog)
    metrics.request_ended(ended(status=CLIENT_GONE))
    assert value(metrics, "kaixu_requests_total", function=OTHER, provider="", model="", status="client_gone") == 1
