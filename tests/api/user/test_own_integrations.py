"""What integrations leave to customers, over the API: only what is declared so, only of one's own account."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import asyncpg
import pytest

from kaixu.catalog.build import build
from kaixu.config.load import load
from kaixu.edge.services import Services
from kaixu.gateway.app import Application
from tests.api.admin.conftest import app as app  # a fixture
from tests.api.admin.conftest import services as services  # a fixture
from tests.api.test_operations import House
from tests.support.money import customer, virtual_key

PLUGIN = """
import msgspec
from kaixu.plugin import Integration, Secret, hookimpl

class Settings(msgspec.Struct):
    cap_cents: int = 500
    contact: str | None = None

@hookimpl
def register_integrations(register):
    register(Integration("shop", [], customer=Settings, by_customer=["contact"],
                         secrets=[Secret("token", "Token", by_customer=True), Secret("pin", "PIN")]))
    register(Integration("closed", [], customer=Settings, secrets=[Secret("token", "Token")]))
"""
CONFIG = "integrations: {shop: {plugin: ./shop.py}, closed: {plugin: ./shop.py}}\n"


@pytest.fixture
async def house(tmp_path: Path, app: Application, services: Services, pool: asyncpg.Pool) -> House:
    """Two integrations, of which one leaves something to customers, and a customer."""
    (tmp_path / "shop.py").write_text(PLUGIN)
    (tmp_path / "kaixu.yaml").write_text(CONFIG)
    services.current.catalog = build(load(tmp_path / "kaixu.yaml", {}), tmp_path)
    services.gate.databases.pool = pool
    made = House(app, services, pool)
    made.customer_id = await customer(pool)
    made.key_id, made.key = await virtual_key(pool, made.customer_id, role="admin")
    return made


async def shown(house: House) -> Any:
    """What the customer sees."""
    status, reply = await house.ask("GET", "/api/user-integrations")
    assert status == 200
    return reply["integrations"]


async def test_only_what_is_left_to_customers_is_seen(house: House) -> None:
    secret = {"name": "token", "title": "Token", "is_set": False, "set_at": None}
    expected = {"integration": "shop", "settings": {"contact": None}, "own": [], "secrets": [secret]}
    assert await shown(house) == [expected]


async def test_it_is_changed_and_audited_as_the_key(house: House) -> None:
    body = {"integration": "shop", "settings": {"contact": "Ada"}}
    assert await house.ask("PATCH", "/api/user-integration-settings", body) == (200, {"ok": True})
    named = {"integration": "shop", "name": "token"}
    status, reply = await house.ask("PUT", "/api/user-integration-secrets", named | {"value": "a-token-0123"})
    assert (status, reply["ok"]) == (200, True)
    (one,) = await shown(house)
    assert (one["settings"], one["own"], one["secrets"][0]["is_set"]) == ({"contact": "Ada"}, ["contact"], True)
    assert await house.ask("DELETE", "/api/user-integration-secrets", named) == (200, {"ok": True, "cleared": True})
    reset = {"integration": "shop", "reset": ["contact"]}
    assert await house.ask("PATCH", "/api/user-integration-settings", reset) == (200, {"ok": True})
    assert (await shown(house))[0]["own"] == []
    audited = await house.pool.fetch(
        "select actor, action, target, t::text as line from kaixu.audit_event t order by id"
    )
    assert {(row["actor"], row["target"]) for row in audited} == {
        (f"key:{house.key[-4:]}", f"customer:{house.customer_id}")
    }
    assert len(audited) == 4
    assert not [row for row in audited if "a-token-0123" in row["line"]]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PATCH", "settings", {"integration": "shop", "settings": {"cap_cents": 9}}, 403),
        ("PATCH", "settings", {"integration": "shop", "reset": ["cap_cents"]}, 403),
        ("PATCH", "settings", {"integration": "closed", "settings": {"contact": "x"}}, 403),
        ("PATCH", "settings", {"integration": "shop", "settings": {"contact": 5}}, 422),
        ("PATCH", "settings", {"integration": "shop"}, 400),
        ("PATCH", "settings", {"integration": "shop", "settings": {"contact": "x"}, "customer_id": 1}, 400),
        ("PUT", "secrets", {"integration": "shop", "name": "pin", "value": "1234567"}, 404),
        ("PUT", "secrets", {"integration": "closed", "name": "token", "value": "1234567"}, 404),
        ("PUT", "secrets", {"integration": "shop", "name": "token", "value": ""}, 422),
        ("PUT", "secrets", {"integration": "shop", "name": "token", "value": "1234567", "customer_id": 1}, 400),
        ("DELETE", "secrets", {"integration": "shop", "name": "pin"}, 404),
    ],
)  # fmt: skip
async def test_nothing_else_is_changed(house: House, method: str, path: str, body: Any, status: int) -> None:
    got, reply = await house.ask(method, f"/api/user-integration-{path}", body)
    assert got == status, reply
    assert await house.pool.fetchval("select count(*) from kaixu.audit_event") == 0


@pytest.mark.parametrize("role", ["viewer", "deployer"])
async def test_other_roles_see_and_change_nothing(house: House, role: str) -> None:
    _, key = await virtual_key(house.pool, house.customer_id, role=role)
    named = {"integration": "shop", "name": "token", "value": "1234567"}
    for method, name, body in (
        ("GET", "user-integrations", None),
        ("PATCH", "user-integration-settings", {"integration": "shop", "settings": {"contact": "x"}}),
        ("PUT", "user-integration-secrets", named),
        ("DELETE", "user-integration-secrets", named),
    ):
        assert (await house.ask(method, f"/api/{name}", body, key=key))[0] == 403, name
