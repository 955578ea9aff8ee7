"""`/metrics`: who may read it, its names and labels, and values that agree with the ledger."""

from __future__ import annotations

import asyncio

import aiohttp
import asyncpg
from prometheus_client.parser import text_string_to_metric_families

from tests.support.money import customer, virtual_key
from tests.support.monitor import operator_headers
from tests.support.process import Client, Process

from .conftest import Start

TOKEN = "metrics-token-for-tests"

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]

#: Dashboards and alert rules use these names and labels: renaming one breaks them.
NAMES = {
    "kaixu_build_info": ("python", "server", "version"),
    "kaixu_calls_in_flight": ("state",),
    "kaixu_calls_limit": (),
    "kaixu_calls_total": ("end", "model", "operation", "provider"),
    "kaixu_database_away": (),
    "kaixu_database_connections": ("pool", "state"),
    "kaixu_database_connections_limit": ("pool",),
    "kaixu_deployment_breaker": ("deployment", "model", "provider", "state"),
    "kaixu_errors_total": ("code", "function"),
    "kaixu_first_output_seconds_count": ("model", "provider"),
    "kaixu_gateway_added_seconds_count": ("model", "provider"),
    "kaixu_held_nanodollars": (),
    "kaixu_jobs_running": (),
    "kaixu_jobs_waiting": (),
    "kaixu_mails_waiting": (),
    "kaixu_mails_oldest_seconds": (),
    "kaixu_mails_failed": (),
    "kaixu_ledger_group_seconds_count": ("operation",),
    "kaixu_ledger_group_size_count": ("operation",),
    "kaixu_ledger_queue": ("operation",),
    "kaixu_monitor_dropped_total": (),
    "kaixu_monitor_queue": (),
    "kaixu_monitor_tail_queries_total": (),
    "kaixu_monitor_viewers": (),
    "kaixu_request_seconds_count": ("function", "status"),
    "kaixu_requests_total": ("function", "model", "provider", "status"),
    "kaixu_spend_nanodollars_total": ("book", "model", "provider"),
    "kaixu_spool_waiting": (),
    "kaixu_stopping": (),
    "kaixu_tokens_total": ("kind", "model", "provider"),
    "kaixu_vendor_cost_nanodollars_total": ("book", "model", "provider"),
    "kaixu_vendor_try_seconds_count": ("model", "outcome", "provider"),
}


async def test_values_agree_with_the_ledger_and_names_and_labels_are_stable(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    (gateway,) = await start(1, METRICS_TOKEN=TOKEN)
    customer_id = await customer(pool)
    _, key = await virtual_key(pool, customer_id)
    client = Client(http, gateway.url, key)
    for _ in range(3):
        assert (await client.chat())[0] == 200
    await client.stream("stream-8-0", max_tokens=20)
    assert (await client.chat("status-400"))[0] >= 400
    assert (await client.chat("made-up-model"))[0] == 400
    assert (await Client(http, gateway.url, "kx_live_unknown").chat())[0] == 401
    async with http.get(f"{gateway.url}/some/scanner/path.php") as response:
        assert response.status == 404
    found = await scrape(http, gateway)
    labels = {name: tuple(sorted(name for name, _ in pairs)) for name, pairs in found if not name.endswith("_bucket")}
    ours = {name: of for name, of in labels.items() if name.startswith("kaixu_")}
    timed = ("_sum", "_created")
    assert {name: of for name, of in ours.items() if not name.endswith(timed)} == NAMES
    ledger = await pool.fetchrow(
        "select count(*) as calls, sum(cost_nusd)::bigint as spent, sum(vendor_cost_nusd)::bigint as cost,"
        " sum(input_tokens)::bigint as input, sum(output_tokens)::bigint as output from kaixu.usage_event"
    )
    assert ledger is not None
    assert total(found, "kaixu_spend_nanodollars_total") == ledger["spent"] > 0
    assert total(found, "kaixu_vendor_cost_nanodollars_total") == ledger["cost"] > 0
    assert total(found, "kaixu_tokens_total", kind="input") == ledger["input"]
    assert total(found, "kaixu_tokens_total", kind="output") == ledger["output"]
    assert total(found, "kaixu_calls_total", end="complete") == 4
    assert total(found, "kaixu_calls_total") - total(found, "kaixu_calls_total", end="released") == ledger["calls"]
    assert total(found, "kaixu_first_output_seconds_count", model="ok") == 3
    assert total(found, "kaixu_requests_total", function="gateway-chat", model="ok", status="2xx") == 3
    assert total(found, "kaixu_errors_total", code="UNKNOWN_MODEL") == 1
    assert total(found, "kaixu_errors_total", code="UNAUTHENTICATED") == 1
    assert total(found, "kaixu_requests_total", function="other", status="4xx") == 1
    assert total(found, "kaixu_calls_in_flight") == total(found, "kaixu_held_nanodollars") == 0
    assert total(found, "kaixu_deployment_breaker", model="ok", state="closed") == 1


async def test_no_label_has_a_name_that_a_client_made_up(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    (gateway,) = await start(1, METRICS_TOKEN=TOKEN)
    customer_id = await customer(pool)
    _, key = await virtual_key(pool, customer_id)
    for number in range(30):
        client = Client(http, gateway.url, key, **{"x-kaixu-app": f"app-{number}"})
        await client.chat(f"invented-{number}")
        async with http.get(f"{gateway.url}/v1/files/invented-{number}", headers=client.headers) as response:
            assert response.status == 404
    text = await read(http, gateway, {"authorization": f"Bearer {TOKEN}"})
    assert "invented" not in text
    assert "app-1" not in text
    assert key not in text
    assert 'function="files"' in text


async def test_only_operators_and_the_metrics_token_may_read_it(start: Start, http: aiohttp.ClientSession) -> None:
    (gateway,) = await start(1, METRICS_TOKEN=TOKEN)
    assert "kaixu_build_info" in await read(http, gateway, operator_headers())
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {TOKEN}"}):
        async with http.get(f"{gateway.url}/metrics", headers=headers) as response:
            assert response.status == 401
    async with http.get(f"{gateway.url}/api/admin-customers", headers={"authorization": f"Bearer {TOKEN}"}) as response:
        assert response.status == 401  # the token opens nothing else


async def test_without_a_metrics_token_only_operators_may_read_it(
    refusing: Process, http: aiohttp.ClientSession
) -> None:
    assert "kaixu_build_info" in await read(http, refusing, operator_headers())
    async with http.get(f"{refusing.url}/metrics", headers={"authorization": "Bearer "}) as response:
        assert response.status == 401


async def read(http: aiohttp.ClientSession, gateway: Process, headers: dict[str, str]) -> str:
    """The text of a scrape."""
    async with http.get(f"{gateway.url}/metrics", headers=headers) as response:
        assert response.status == 200
        assert response.content_type == "text/plain"
        return await response.text()


async def scrape(http: aiohttp.ClientSession, gateway: Process) -> Samples:
    """All samples, once no call runs any more."""
    async with asyncio.timeout(30):
        while True:
            text = await read(http, gateway, {"authorization": f"Bearer {TOKEN}"})
            found = {
                (one.name, tuple(sorted(one.labels.items()))): one.value
                for family in text_string_to_metric_families(text)
                for one in family.samples
            }
            if total(found, "kaixu_calls_in_flight") == 0 and total(found, "kaixu_requests_total", function="other"):
                return found
            await asyncio.sleep(0.05)


def total(found: Samples, name: str, **labels: str) -> float:
    """The sum of a metric's samples with these labels."""
    return sum(value for (one, pairs), value in found.items() if one == name and labels.items() <= dict(pairs).items())
