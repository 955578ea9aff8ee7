"""The platform page: surfaces of kaixu.yaml, operators' notes, documents, counts."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import asyncpg
import pytest

from kaixu.accounts.platforms import MOST_STATE_BYTES
from kaixu.config.platforms_section import PlatformsSection
from kaixu.edge.services import Services

from .conftest import Operator

SURFACES = PlatformsSection.model_validate(
    {
        "surfaces": {
            "skyefuelstation": {
                "title": "Station",
                "launch_url": "/skyefuelstation/",
                "gateway_tab": "station",
                "storage_mode": "gateway-metrics",
                "visibility": "public",
            },
            "skyespace": {"title": "Space", "launch_url": "/skyespace/", "visibility": "public"},
            "cohort-command": {
                "title": "Cohorts",
                "launch_url": "/cohort-command/",
                "storage_mode": "platform-state",
                "summary_fields": ["cohort_name", "total_students", "students"],
            },
        }
    }
)

OPS = {
    "app_id": "skyespace",
    "health_status": "warning",
    "onboarding_stage": "in-progress",
    "lifecycle_status": "maintenance",
    "owner": "Ada",
    "notes": "first line\nsecond line",
    "flags": {"beta": True},
}


@pytest.fixture(autouse=True)
def surfaces(services: Services) -> None:
    """Three surfaces."""
    services.current.platforms = SURFACES


async def by_app(operator: Operator) -> dict[str, Any]:
    """The surfaces of the page."""
    body = await operator.get("admin-platform-control")
    return {one["app_id"]: one for one in body["platforms"]}


async def test_the_page_shows_every_surface_of_the_file(operator: Operator) -> None:
    body = await operator.get("admin-platform-control?month=2026-02")
    assert (body["ok"], body["storage_ready"], body["month"]) == (True, True, "2026-02")
    assert body["counts"] == {
        "surfaces": 3,
        "connected_remote_docs": 0,
        "cohort_seats": 0,
        "skymail_threads": 0,
        "attention_needed": 0,
        "onboarding_inflight": 0,
        "reviewed_platforms": 0,
        "surfaces_down": 0,
        "station_active_customers": 0,
        "station_active_keys": 0,
    }
    station, space, cohorts = body["platforms"]
    assert station["summary"] == {
        "active_customers": 0,
        "active_keys": 0,
        "token_volume": 0,
        "topup_cents": 0,
        "brain_connected": False,
    }
    assert [one["storage_status"] for one in body["platforms"]] == ["live-telemetry", "linked", "ready"]
    assert station["summary_text"].endswith("brain connected: no")
    assert cohorts["summary"] == {"cohort_name": None, "total_students": None, "students": None}
    assert (space["gateway_tab"], space["has_remote_state"], space["health"]["state"]) == (None, False, "unchecked")


async def test_notes_are_replaced_as_a_whole(operator: Operator) -> None:
    first = (await operator.send("PUT", "admin-platform-ops", OPS))["platform_ops"]
    assert OPS.items() <= first.items()
    assert first["updated_by"] == "admin"
    assert first["last_checked_at"] is not None
    again = {"app_id": "skyespace", "last_checked_at": "2026-02-01T00:00:00Z"}
    second = (await operator.send("PUT", "admin-platform-ops", again))["platform_ops"]
    assert second | {"updated_at": None, "created_at": None} == {
        "app_id": "skyespace",
        "health_status": "unreviewed",
        "onboarding_stage": "untracked",
        "lifecycle_status": "active",
        "owner": "",
        "notes": "",
        "flags": {},
        "updated_by": "admin",
        "last_checked_at": "2026-02-01T00:00:00.000Z",
        "created_at": None,
        "updated_at": None,
    }
    assert second["created_at"] == first["created_at"]
    assert (await operator.get("admin-platform-ops?app_id=skyespace"))["platform_ops"] == second
    assert set((await operator.get("admin-platform-ops"))["platform_ops"]) == set(SURFACES.surfaces)


async def test_the_counts_are_of_operators_notes(operator: Operator) -> None:
    for app_id, health, stage in (
        ("skyefuelstation", "critical", "complete"),
        ("skyespace", "healthy", "blocked"),
        ("cohort-command", "unreviewed", "queued"),
    ):
        change = {"app_id": app_id, "health_status": health, "onboarding_stage": stage}
        await operator.send("PUT", "admin-platform-ops", change)
    counts = (await operator.get("admin-platform-control"))["counts"]
    assert (counts["attention_needed"], counts["onboarding_inflight"], counts["reviewed_platforms"]) == (1, 2, 2)


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"app_id": "nobody"}, 400, "app_id"),
        ({"app_id": None}, 400, "app_id"),
        ({"app_id": 7}, 422, "app_id"),
        ({"app_id": "skyespace", "helth_status": "healthy"}, 400, "helth_status"),
        ({"app_id": "skyespace", "health_status": "fine"}, 422, "health_status"),
        ({"app_id": "skyespace", "onboarding_stage": "none"}, 422, "onboarding_stage"),
        ({"app_id": "skyespace", "lifecycle_status": ["active"]}, 422, "lifecycle_status"),
        ({"app_id": "skyespace", "owner": "x" * 201}, 422, "owner"),
        ({"app_id": "skyespace", "notes": "x" * 4001}, 422, "notes"),
        ({"app_id": "skyespace", "notes": "a\x07b"}, 422, "notes"),
        ({"app_id": "skyespace", "flags": ["beta"]}, 422, "flags"),
        ({"app_id": "skyespace", "flags": {"beta": {"deep": 1}}}, 422, "flags"),
        ({"app_id": "skyespace", "flags": {"n": 1e300}}, 422, "flags"),
        ({"app_id": "skyespace", "flags": {str(at): at for at in range(51)}}, 422, "flags"),
        ({"app_id": "skyespace", "last_checked_at": "yesterday"}, 422, "last_checked_at"),
    ],
)
async def test_what_cannot_be_noted_is_refused(
    operator: Operator, change: dict[str, Any], status: int, field: str
) -> None:
    found, body = await operator.ask("PUT", "admin-platform-ops", change)
    assert (found, body.get("field")) == (status, field), body
    assert {"error", "code", "request_id"} <= body.keys()


async def test_a_document_is_stored_shown_and_removed(operator: Operator) -> None:
    path = "admin-platform-state?app_id=cohort-command"
    state = {
        "cohort_name": "Spring",
        "total_students": 12,
        "students": [{"name": "Ada"}, {"name": "Bob"}],
        "secret": "not in the summary",
    }
    before = await operator.get(path)
    assert (before["state"], before["platform"]["has_remote_state"]) == (None, False)
    written = (await operator.send("PUT", path, {"state": state}))["platform"]
    assert written["summary"] == {"cohort_name": "Spring", "total_students": 12, "students": 2}
    assert written["summary_text"] == "cohort name: Spring, total students: 12, students: 2"
    assert (written["storage_status"], written["updated_by"]) == ("connected", "admin")
    after = await operator.get(path)
    assert after["state"] == state
    assert after["app"] == {
        "app_id": "cohort-command",
        "title": "Cohorts",
        "launch_url": "/cohort-command/",
        "gateway_tab": None,
        "description": "",
        "storage_mode": "platform-state",
        "visibility": "admin",
    }
    page = await operator.get("admin-platform-control")
    assert (page["counts"]["connected_remote_docs"], page["counts"]["cohort_seats"]) == (1, 12)
    assert "not in the summary" not in str(page)
    gone = {"ok": True, "deleted": True, "app_id": "cohort-command"}
    assert await operator.send("DELETE", path) == gone
    assert await operator.send("DELETE", path) == gone | {"deleted": False}
    assert (await operator.get(path))["state"] is None


async def test_a_document_can_say_its_own_summary(operator: Operator) -> None:
    path = "admin-platform-state?app_id=cohort-command"
    told = await operator.send("PUT", path, {"state": {"summary_text": "s" * 600, "total_students": "many"}})
    assert told["platform"]["summary_text"] == "s" * 500
    assert (await operator.get("admin-platform-control"))["counts"]["cohort_seats"] == 0


def deep(levels: int) -> Any:
    """An object in an object, and so on."""
    value: Any = {}
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("query", "body", "status"),
    [
        ("?app_id=nobody", {"state": {}}, 400),
        ("", {"state": {}}, 400),
        ("?app_id=skyespace", {"state": {}}, 400),
        ("?app_id=cohort-command", {}, 400),
        ("?app_id=cohort-command", {"state": None}, 400),
        ("?app_id=cohort-command", {"state": []}, 422),
        ("?app_id=cohort-command", {"state": "text"}, 422),
        ("?app_id=cohort-command", {"state": {}, "titel": "x"}, 400),
        ("?app_id=cohort-command", {"state": {"a": "x" * MOST_STATE_BYTES}}, 413),
        ("?app_id=cohort-command", {"state": deep(101)}, 422),
        ("?app_id=cohort-command", {"state": {"a": "nul \0"}}, 400),
    ],
)
async def test_what_cannot_be_a_document_is_refused(operator: Operator, query: str, body: Any, status: int) -> None:
    found, reply = await operator.ask("PUT", f"admin-platform-state{query}", body)
    assert found == status, reply


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{",
        b'{"state": {"a": 1' + b"0" * 5000 + b"}}",
        b'{"state": {"a": 1e999}}',
        b'{"state": {"a": NaN}}',
        b'{"state": {"a": "\\ud800"}}',
    ],
)
async def test_what_is_no_json_object_is_refused(operator: Operator, raw: bytes) -> None:
    status, reply = await operator.ask("PUT", "admin-platform-state?app_id=cohort-command", raw=raw)
    assert 400 <= status < 500, reply


async def test_large_numbers_and_odd_names_come_back_as_they_were(operator: Operator) -> None:
    path = "admin-platform-state?app_id=cohort-command"
    state = {"": 1, "😀": [None, True, 1.5, -(2**63), 10**30], "a.b": {"$x": "\u2028"}}
    await operator.send("PUT", path, {"state": state})
    assert (await operator.get(path))["state"] == state


async def test_the_document_of_a_surface_that_is_no_longer_in_the_file_can_be_removed(
    operator: Operator, services: Services
) -> None:
    path = "admin-platform-state?app_id=cohort-command"
    await operator.send("PUT", path, {"state": {"a": 1}})
    services.current.platforms = PlatformsSection()
    assert (await operator.ask("GET", path))[0] == 400
    assert (await operator.send("DELETE", path))["deleted"] is True
    assert (await operator.ask("DELETE", path))[0] == 400


async def test_every_change_is_in_the_audit_log_and_in_the_timeline(operator: Operator, pool: asyncpg.Pool) -> None:
    path = "admin-platform-state?app_id=cohort-command"
    await operator.send("PUT", "admin-platform-ops", OPS)
    await operator.send("PUT", path, {"state": {"student": "Ada Lovelace"}})
    await operator.send("DELETE", path)
    await operator.send("DELETE", path)
    rows = await pool.fetch("select action, target, before, after, meta from kaixu.audit_event order by id")
    assert [(row["action"], row["target"]) for row in rows] == [
        ("platform_ops.upsert", "platform:skyespace"),
        ("platform_state.upsert", "platform:cohort-command"),
        ("platform_state.delete", "platform:cohort-command"),
    ]
    assert (rows[0]["before"], rows[0]["after"]["notes"]) == (None, OPS["notes"])
    assert rows[1]["after"] == rows[2]["before"]
    assert "Lovelace" not in str([dict(row) for row in rows])
    shown = (await operator.get("admin-platform-events?app_id=cohort-command"))["events"]
    assert [(row["action"], row["group"], row["groupLabel"]) for row in shown] == [
        ("platform_state.delete", "platform-state", "Platform state"),
        ("platform_state.upsert", "platform-state", "Platform state"),
    ]


async def test_concurrent_changes_follow_one_another(operator: Operator, pool: asyncpg.Pool) -> None:
    changes = [{"app_id": "skyespace", "notes": str(at)} for at in range(20)]
    await asyncio.gather(*(operator.send("PUT", "admin-platform-ops", change) for change in changes))
    rows = await pool.fetch("select before, after from kaixu.audit_event order by id")
    assert rows[0]["before"] is None
    for earlier, later in pairwise(rows):
        assert later["before"] == earlier["after"]
    final = (await operator.get("admin-platform-ops?app_id=skyespace"))["platform_ops"]
    assert final["notes"] == rows[-1]["after"]["notes"]


@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("GET", "admin-platform-control"),
        ("GET", "admin-platform-ops"),
        ("PUT", "admin-platform-ops"),
        ("GET", "admin-platform-state"),
        ("PUT", "admin-platform-state"),
        ("DELETE", "admin-platform-state"),
        ("GET", "admin-skyefuel-station"),
    ],
)
async def test_only_operators_may(stranger: Operator, method: str, name: str) -> None:
    status, body = await stranger.ask(method, name, {})
    assert (status, body["code"]) == (401, "UNAUTHENTICATED")
