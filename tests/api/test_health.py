"""`health`: the state for everybody, the reasons only for operators."""

from __future__ import annotations

from kaixu.catalog.catalog import Catalog, LaneState
from kaixu.config.sections import LaneSection, ModelSection
from kaixu.edge.services import Services
from tests.api.admin.conftest import Operator, app, operator, services, stranger

__all__ = ["app", "operator", "services", "stranger"]


async def test_a_gateway_that_has_no_lane_is_degraded_and_says_so(stranger: Operator) -> None:
    body = await stranger.get("health")
    assert (body["ok"], body["status"]) == (True, "degraded")
    assert body["why"] == ["no lane is on, so no model can be called"]
    assert body["db"]["now"]


async def test_why_a_lane_failed_is_for_operators(services: Services, operator: Operator, stranger: Operator) -> None:
    section = LaneSection(plugin="echo", models={"m": ModelSection(type="chat")})
    states = {
        "good": LaneState("good", section, "on", None, None),
        "bad": LaneState("bad", section, "failed", "/srv/models/secret.gguf is damaged", None),
        "switched": LaneState("switched", section, "off", "SECRET_KEY is not set", None),
    }
    services.current.catalog = Catalog(lanes=states)
    seen = await stranger.get("health")
    assert (seen["status"], seen["why"]) == ("degraded", ["lane bad is failed"])
    assert seen["lanes"] == {"good": "on", "bad": "failed", "switched": "off"}
    assert "gguf" not in str(seen)
    assert "SECRET_KEY" not in str(seen)
    assert (await operator.get("health"))["why"] == ["lane bad is failed: /srv/models/secret.gguf is damaged"]
    forged = Operator(operator.client.app, authorization="Bearer a.b.c")
    assert (await forged.get("health"))["why"] == ["lane bad is failed"]
    del states["bad"]
    assert (await stranger.get("health"))["status"] == "ready"


async def test_without_a_database_it_is_unready(services: Services, stranger: Operator) -> None:
    await services.pool.close()
    status, body = await stranger.ask("GET", "health")
    assert (status, body["status"], body["db"]) == (
        503,
        "unready",
        {"ok": False, "error": "the database does not answer"},
    )
    assert "the database does not answer" in body["why"]
