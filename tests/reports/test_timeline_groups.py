"""What the entries of the timeline are about."""

from __future__ import annotations

import asyncpg
import pytest

from kaixu.edge.services import Services
from kaixu.ops.events import MonitorEvent
from kaixu.reports.timeline_groups import group_of_change, group_of_event, label_of_group
from kaixu.store.audit import AuditEvent, write_audit
from kaixu.store.events import write_events
from tests.api.admin.conftest import Operator, app, operator, services
from tests.api.admin.test_platforms import SURFACES

__all__ = ["app", "operator", "services"]


@pytest.mark.parametrize(
    ("action", "group"),
    [
        ("platform_ops.upsert", "platform-ops"),
        ("platform_state.delete", "platform-state"),
        ("platform_control.load", "platform-control"),
        ("platform_", "platform-control"),
        ("skymail.lanes.update", "skymail-lanes"),
        ("skymail_threads_create", "skymail-threads"),
        ("skymail.", "skymail-suite"),
        ("cohort.students.add", "cohort-students"),
        ("cohort_config", "cohort-config"),
        ("cohort_command.save", "cohort-config"),
        ("CUSTOMER_CREATE", "customer"),
        ("KEY_ROTATE", "key"),
        ("", ""),
    ],
)
def test_the_group_of_a_change(action: str, group: str) -> None:
    assert group_of_change(action) == group


@pytest.mark.parametrize(
    ("kind", "function_name", "app_id", "group"),
    [
        ("error", "admin-platform-state", None, "platform-state"),
        ("error", "skye-fuel-station-overview", "shop", "skyefuelstation"),
        ("blocked", "gateway-chat", "skyefuelstation", "skyefuelstation"),
        ("blocked", "gateway-chat", "cohort-command", "cohort-config"),
        ("error", "gateway-chat", "skyespace", "platform-activity"),
        ("error", "gateway-chat", "skymail-suite", "error"),  # kaixu.yaml does not name it here
        ("error", "gateway-chat", "shop", "error"),
        ("info", None, None, "info"),
        (None, None, None, "gateway"),
    ],
)
def test_the_group_of_an_event(kind: str | None, function_name: str | None, app_id: str | None, group: str) -> None:
    assert group_of_event(kind, function_name, app_id, SURFACES.surfaces) == group


def test_groups_have_names_for_people() -> None:
    names = [label_of_group(group) for group in ("skyefuelstation", "skymail-lanes", "platform-ops", "rate_limited")]
    assert names == ["SkyeFuelStation", "Skymail lanes", "Platform ops", "Rate limited"]


async def test_a_surfaces_timeline_has_its_changes_its_apps_events_and_those_of_its_functions(
    operator: Operator, services: Services, pool: asyncpg.Pool
) -> None:
    services.current.platforms = SURFACES
    for app_id in ("skyefuelstation", "skyespace"):
        await write_audit(pool, AuditEvent("admin", "platform_ops.upsert", f"platform:{app_id}", "r"))
        await write_events(pool, [MonitorEvent(kind="error", app_id=app_id, function_name="gateway-chat")])
    await write_audit(
        pool, AuditEvent("admin", "CUSTOMER_CREATE", "customer:1", "r", None, None, {"app_id": "skyespace"})
    )
    await write_events(pool, [MonitorEvent(kind="error", function_name="skye-fuel-station-config")])

    async def groups(app_id: str) -> list[str]:
        events = (await operator.get(f"admin-platform-events?app_id={app_id}"))["events"]
        return sorted(row["group"] for row in events)

    assert await groups("skyefuelstation") == ["platform-ops", "skyefuelstation", "skyefuelstation"]
    assert await groups("skyespace") == ["platform-activity", "platform-ops"]
    assert await groups("nobody") == []
    assert len((await operator.get("admin-platform-events"))["events"]) == 6
