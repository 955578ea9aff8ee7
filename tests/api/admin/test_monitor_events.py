"""Operators list, remove and download monitor events, and read the timeline."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from quart import Quart

from kaixu.config.gateway_section import GatewaySection, MonitorSection
from kaixu.edge.services import Services
from kaixu.ops.events import MonitorEvent
from kaixu.store.events import write_events

from .conftest import Operator


async def write(pool: asyncpg.Pool, *events: MonitorEvent) -> None:
    """Write events."""
    await write_events(pool, events)


async def test_the_newest_window_is_ascending_and_goes_on(operator: Operator, pool: asyncpg.Pool) -> None:
    await write(pool, *(MonitorEvent(kind="error", error_message=str(at)) for at in range(300)))
    page = await operator.get("admin-monitor-events")
    assert [event["error_message"] for event in page["events"]] == [str(at) for at in range(100, 300)]
    older = await operator.get(f"admin-monitor-events?before_id={page['next_before_id']}")
    assert [event["error_message"] for event in older["events"]] == [str(at) for at in range(100)]
    assert older["next_before_id"] is None
    nothing = await operator.get(f"admin-monitor-events?after_id={page['next_after_id']}")
    assert (nothing["events"], nothing["next_after_id"]) == ([], page["next_after_id"])
    await write(pool, MonitorEvent(kind="slow"))
    [event] = (await operator.get(f"admin-monitor-events?after_id={page['next_after_id']}"))["events"]
    assert event["kind"] == "slow"
    assert isinstance(event["id"], int)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("level=warn", "b"),
        ("kind=slow", "b"),
        ("function=gateway-chat", "a"),
        ("fn=gateway-chat", "a"),
        ("app=shop", "a"),
        ("request_id=r1", "a"),
        ("customer_id=7", "b"),
        ("api_key_id=9", "b"),
        ("provider=up", "a"),
        ("model=ok", "b"),
        ("status=502", "a"),
        ("status=418", "b"),
        ("code=UPSTREAM", "a"),
        ("since=2026-01-02T00:00:00Z", "b"),
        ("since=2026-01-02T00:00:00+01:00", "b"),
    ],
)
async def test_filters(operator: Operator, pool: asyncpg.Pool, query: str, found: str) -> None:
    early, late = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 3, tzinfo=UTC)
    await write(
        pool,
        MonitorEvent(
            kind="error",
            level="error",
            error_message="a",
            function_name="gateway-chat",
            app_id="shop",
            request_id="r1",
            provider="up",
            http_status=502,
            error_code="UPSTREAM",
            created_at=early,
        ),
        MonitorEvent(
            kind="slow",
            level="warn",
            error_message="b",
            customer_id=7,
            key_id=9,
            model="ok",
            upstream_status=418,
            created_at=late,
        ),
    )
    page = await operator.get(f"admin-monitor-events?{query}")
    assert [event["error_message"] for event in page["events"]] == [found]


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=1001", "limit=x", "after_id=-1", "since=yesterday", "customer_id=x", "after_id=1&before_id=2",
     "from=yesterday", "from=2026-01-02&to=2026-01-01", "from=now-1h&since=2026-01-01", "to=now-9999w",
     "since=0001-01-01T00:00:00%2B23:59", "since=9999-12-31T23:59:59-23:59"],
)  # fmt: skip
async def test_bad_queries_are_refused(operator: Operator, query: str) -> None:
    status, body = await operator.ask("GET", f"admin-monitor-events?{query}")
    assert status in (400, 422)
    assert body["code"]


async def test_a_reload_that_switches_the_archive_off_holds_for_the_next_prune(
    operator: Operator, pool: asyncpg.Pool, services: Services
) -> None:
    services.current.section = GatewaySection(monitor=MonitorSection(archive=False))
    await write(pool, MonitorEvent(kind="error", created_at=datetime.now(UTC) - timedelta(days=40)))
    status, body = await operator.ask("POST", "admin-monitor-prune", {"days": 30})
    assert (status, body) == (200, {"ok": True, "deleted": 1, "days": 30, "archived": False})
    assert (await operator.get("monitor-archive-access"))["items"] == []


async def test_prune_tells_how_many_and_the_archive_has_them(operator: Operator, pool: asyncpg.Pool) -> None:
    old = datetime.now(UTC) - timedelta(days=40)
    await write(pool, *(MonitorEvent(kind="error", error_message=f"old {at}", created_at=old) for at in range(3)))
    await write(pool, MonitorEvent(kind="error", error_message="new"))
    status, body = await operator.ask("POST", "admin-monitor-prune", {"days": 30})
    assert (status, body) == (200, {"ok": True, "deleted": 3, "days": 30, "archived": True})
    files = await operator.get("monitor-archive-access?prefix=gateway_events/")
    [file] = files["items"]
    assert file["key"].startswith(f"gateway_events/{old:%Y-%m-%d}/batch-")
    response = await operator.client.get(f"/api/monitor-archive-access?key={file['key']}", headers=operator.headers)
    lines = (await response.get_data(as_text=True)).splitlines()
    assert [json.loads(line)["error_message"] for line in lines] == ["old 0", "old 1", "old 2"]
    assert response.content_type == "application/x-ndjson; charset=utf-8"
    [audit] = (await operator.get("admin-platform-events"))["events"][:1]
    assert (audit["source"], audit["action"], audit["meta"]["removed"]) == ("audit", "MONITOR_PRUNE", 3)


async def test_what_would_be_pruned_is_counted_and_stays(operator: Operator, pool: asyncpg.Pool) -> None:
    old = datetime.now(UTC) - timedelta(days=40)
    await write(pool, *(MonitorEvent(kind="error", created_at=old) for _ in range(3)), MonitorEvent(kind="error"))
    counted = {"ok": True, "would_delete": 3, "days": 30, "archived": True}
    for _ in range(2):
        assert await operator.get("admin-monitor-prune?days=30") == counted
    assert (await operator.get("admin-monitor-prune?days=41"))["would_delete"] == 0
    assert len((await operator.get("admin-monitor-events"))["events"]) == 4
    assert (await operator.get("monitor-archive-access"))["items"] == []
    assert (await operator.get("admin-audit?action=MONITOR_PRUNE"))["entries"] == []
    status, body = await operator.ask("GET", "admin-monitor-prune?days=0")
    assert (status, body["field"]) == (422, "days")


@pytest.mark.parametrize(
    "query", ["key=spool/x", "prefix=../", "key=gateway_events/../secret", "limit=9", "key=/etc/passwd"]
)
async def test_the_archive_shows_nothing_else(operator: Operator, query: str) -> None:
    status, _ = await operator.ask("GET", f"monitor-archive-access?{query}")
    assert status == 422


async def test_a_file_that_is_not_there(operator: Operator) -> None:
    status, body = await operator.ask("GET", "monitor-archive-access?key=gateway_events/2026-01-01/batch-1-2.ndjson.gz")
    assert (status, body["code"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "admin-monitor-events"),
        ("GET", "admin-monitor-prune"),
        ("POST", "admin-monitor-prune"),
        ("POST", "monitor-archive-prune"),
        ("GET", "monitor-archive-access"),
        ("GET", "admin-platform-events"),
    ],
)
async def test_only_operators_may(app: Quart, method: str, path: str) -> None:
    status, _ = await Operator(app).ask(method, path)
    assert status == 401


async def test_the_timeline_merges_changes_and_events(operator: Operator, pool: asyncpg.Pool) -> None:
    made = await operator.ask("POST", "admin-customers", {"email": "ada@example.com"})
    assert made[0] in (200, 201)
    for at in range(5):
        await write(pool, MonitorEvent(kind="alert", level="warn", error_code="CAP", customer_id=at, app_id="shop"))
    rows = []
    cursor = ""
    while True:
        page = await operator.get(f"admin-platform-events?limit=2{cursor}")
        rows += page["events"]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor'].replace('+', '%2B')}"
    assert len({(row["source"], row["id"]) for row in rows}) == len(rows) == 6
    assert [row["created_at"] for row in rows] == sorted((row["created_at"] for row in rows), reverse=True)
    assert rows[-1]["action"] == "CUSTOMER_CREATE"
    assert {row["groupLabel"] for row in rows} == {"Alert", "Customer"}
    only = await operator.get("admin-platform-events?app_id=shop")
    assert len(only["events"]) == 5
    for wrong in ("x", "0001-01-01T00:00:00%2B23:59~audit~1"):
        status, _ = await operator.ask("GET", f"admin-platform-events?cursor={wrong}")
        assert status == 422


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("source=gateway", ["CAP"]),
        ("source=audit", ["KEY_CREATE", "CUSTOMER_CREATE"]),
        ("actor=admin", ["KEY_CREATE", "CUSTOMER_CREATE"]),
        ("actor=gateway", ["CAP"]),
        ("action=cap", ["CAP"]),
        ("action=key_create", ["KEY_CREATE"]),
        ("target=customer", ["CUSTOMER_CREATE"]),
        ("customer_id={customer}", ["CAP", "KEY_CREATE", "CUSTOMER_CREATE"]),
        ("customer_id=999", []),
        ("request_id=r1", ["CAP"]),
        ("from=now-1h&to=now", ["CAP", "KEY_CREATE", "CUSTOMER_CREATE"]),
        ("to=2026-01-01", []),
    ],
)
async def test_the_timeline_by_filters(operator: Operator, pool: asyncpg.Pool, query: str, found: list[str]) -> None:
    customer = (await operator.send("POST", "admin-customers", {"email": "ada@example.com"}))["customer"]["id"]
    await operator.send("POST", "admin-keys", {"customer_id": customer, "label": "master"})
    await write(pool, MonitorEvent(kind="alert", error_code="CAP", customer_id=customer, request_id="r1"))
    page = await operator.get(f"admin-platform-events?{query.format(customer=customer)}")
    assert [row["action"] for row in page["events"]] == found


@pytest.mark.parametrize("query", ["source=else", "customer_id=x", "from=tomorrow", "from=2026-01-02&to=2026-01-01"])
async def test_a_filter_of_the_timeline_that_is_wrong_is_refused(operator: Operator, query: str) -> None:
    status, body = await operator.ask("GET", f"admin-platform-events?{query}")
    assert (status, body["code"]) == (422, "INVALID_FIELD")
