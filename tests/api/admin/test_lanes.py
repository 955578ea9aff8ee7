"""`admin-lanes`, `admin-lane-test` and `admin-lane-snippet`: what is switched on, a test call, a piece of kaixu.yaml."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from quart import Quart

from kaixu.accounts.lane_tests import CALLS_A_MINUTE, EMAIL
from kaixu.config.check import check
from kaixu.config.read import read_text
from tests.support.operators import admin_headers, operator_with_role, token_with_scopes
from tests.support.process import Process

from .conftest import Operator

SECRET = "sk-of-a-vendor-that-nobody-sees-1234"

CONFIG = """\
lanes:
  works:
    plugin: echo
    aliases: [demo]
    models:
      plain: {type: chat, aliases: [also], price: {input: 1, output: 2}, cost: {input: 0.5, output: 1}}
      loss: {type: chat, price: {input: 1, output: 2}, cost: {input: 1.5, output: 1}}
      shared:
        type: chat
        price: {input: 1, output: 2}
        deployments:
          - {lane: works, name: near}
          - {lane: dead, name: far, upstream: x, weight: 3}
  dead:
    plugin: openai
    base_url: http://127.0.0.1:9/v1
    api_key: sk-of-a-vendor-that-nobody-sees-1234
    retries: 0
    models:
      free: {type: chat}
      vectors: {type: embed, dimensions: 8, price: {input: 1}}
  unset:
    plugin: openai
    api_key: ${KEY_THAT_IS_NOT_SET}
    models:
      x: {type: chat, price: {input: 1, output: 1}}
  wrong:
    plugin: ehco
    models:
      x: {type: chat, price: {input: 1, output: 1}}
"""


class Running:
    """A gateway with these lanes."""

    def __init__(self, process: Process, http: httpx.AsyncClient) -> None:
        self.process = process
        self.http = http

    async def ask(self, method: str, name: str, body: Any = None, headers: Any = None) -> tuple[int, Any]:
        """The status and the body of a reply, as an owner unless there are `headers`."""
        url = f"{self.process.url}/api/{name}"
        response = await self.http.request(method, url, json=body, headers=headers or admin_headers())
        return response.status_code, response.json()

    async def test(self, lane: str, model: str, **more: str) -> dict[str, Any]:
        """The result of a test call."""
        status, body = await self.ask("POST", "admin-lane-test", {"lane": lane, "model": model, **more})
        assert status == 200, body
        result: dict[str, Any] = body
        return result


@pytest.fixture
async def running(tmp_path: Path, dsn: str) -> AsyncIterator[Running]:
    process = Process(tmp_path / "home", dsn, CONFIG)
    async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
        try:
            await process.start()
            yield Running(process, http)
        finally:
            await process.stop()


async def test_lanes_say_what_is_on_what_is_missing_and_what_is_below_cost(running: Running) -> None:
    status, body = await running.ask("GET", "admin-lanes")
    assert status == 200
    lanes = {one["name"]: one for one in body["lanes"]}
    assert {name: one["state"] for name, one in lanes.items()} == {
        "works": "on", "dead": "on", "unset": "off", "wrong": "failed",
    }  # fmt: skip
    assert lanes["unset"]["missing"] == ["KEY_THAT_IS_NOT_SET"]
    assert lanes["dead"]["vendor_keys"][0]["last4"] == "1234"
    models = {one["name"]: one for one in lanes["works"]["models"]}
    assert (models["plain"]["aliases"], models["plain"]["figures"]["margin_output_percent"]) == (["also"], "50.0")
    assert models["loss"]["figures"]["loss"] == ["input", "cached_input", "cache_write"]
    assert [one["name"] for one in models["shared"]["deployments"]] == ["near", "far"]
    assert lanes["dead"]["models"][0]["is_priced"] is False
    assert [one["line"] for one in body["config"]["mistakes_in_force"]] == [28]
    assert (body["config"]["mistakes"], body["config"]["is_changed"]) == ([], False)
    plugins = {one["name"]: one for one in body["plugins"]}
    assert (plugins["echo"]["state"], plugins["echo"]["source"]) == ("on", "built-in")
    assert SECRET not in str(body)


async def test_a_changed_file_is_told_with_its_mistakes_before_a_reload(running: Running) -> None:
    running.process.config.write_text(CONFIG.replace("input: 0.5", "input: 0.25"))
    _, body = await running.ask("GET", "admin-lanes")
    assert body["config"]["is_changed"] is True
    running.process.config.write_text(CONFIG.replace("type: embed", "type: embedding"))
    _, body = await running.ask("GET", "admin-lanes")
    assert [one["line"] for one in body["config"]["mistakes"]] == [21]
    running.process.config.unlink()
    status, _ = await running.ask("GET", "admin-lanes")
    assert status == 200


async def test_a_test_call_is_metered_audited_and_charged_to_nobody(running: Running, pool: asyncpg.Pool) -> None:
    first = await running.test("works", "plain")
    assert (first["ok"], first["text"], first["cost_usd"]) == (True, "Reply with OK.", "0.00")
    assert float(first["vendor_cost_usd"]) > 0
    again = await running.test("works", "plain")
    rows = await pool.fetch(
        """
        select e.request_id, e.cost_nusd, e.vendor_cost_nusd, c.email
          from kaixu.usage_event e join kaixu.customer c on c.id = e.customer_id order by e.id
        """
    )
    assert [row["request_id"] for row in rows] == [first["request_id"], again["request_id"]]
    assert all(row["cost_nusd"] == 0 and row["vendor_cost_nusd"] > 0 and row["email"] == EMAIL for row in rows)
    assert await pool.fetchval("select count(*) from kaixu.virtual_key") == 1
    assert await pool.fetchval("select count(*) from kaixu.audit_event where action = 'LANE_TEST'") == 2
    _, lanes = await running.ask("GET", "admin-lanes")
    month = lanes["lanes"][0]["models"][0]["deployments"][0]["month"]
    assert (month["calls"], month["errors"], month["spent_usd"]) == (2, 0, "0.00")
    checked = await running.process.command("reconcile")
    assert checked.returncode == 0, checked.stdout + checked.stderr


async def test_a_test_of_one_deployment_says_why_its_vendor_does_not_answer(running: Running) -> None:
    for lane, model, more in (
        ("works", "shared", {"deployment": "far"}),
        ("dead", "vectors", {}),
        ("dead", "free", {}),
    ):
        result = await running.test(lane, model, **more)
        assert (result["ok"], result["has_event"], result["failure"]["code"]) == (False, False, "UPSTREAM_ERROR")
        assert [one["error"] for one in result["tries"]] == ["UPSTREAM_ERROR"]
    assert (await running.test("works", "shared", deployment="near"))["deployment"] == "near"
    _, body = await running.ask("GET", "admin-lanes")
    far = body["lanes"][0]["models"][2]["deployments"][1]
    assert (far["recent"]["failed"], far["recent"]["is_failing"]) == (1, False)


async def test_test_calls_are_refused_where_they_cannot_or_may_not_be_made(
    running: Running, pool: asyncpg.Pool
) -> None:
    for given, status, code in (
        ({"lane": "unset", "model": "x"}, 503, "LANE_OFF"),
        ({"lane": "wokrs", "model": "plain"}, 422, "INVALID_FIELD"),
        ({"lane": "works", "model": "plian"}, 422, "INVALID_FIELD"),
        ({"lane": "works", "model": "shared", "deployment": "farr"}, 422, "INVALID_FIELD"),
        ({"lane": "works"}, 422, "INVALID_FIELD"),
        ({"lane": "works", "model": "plain", "customer_id": 1}, 400, "BAD_REQUEST"),
        ({"lane": ["works"], "model": {}}, 422, "INVALID_FIELD"),
    ):
        answered, body = await running.ask("POST", "admin-lane-test", given)
        assert (answered, body["code"]) == (status, code), body
    _, viewer = await operator_with_role(pool, "viewer")
    reader = {"authorization": f"Bearer {await token_with_scopes(pool, 'read')}"}
    for headers in (viewer, reader):
        status, body = await running.ask("POST", "admin-lane-test", {"lane": "works", "model": "plain"}, headers)
        assert (status, body["code"]) == (403, "FORBIDDEN")
        assert (await running.ask("GET", "admin-lanes", headers=headers))[0] == 200
    for _ in range(CALLS_A_MINUTE):
        await running.test("works", "plain")
    status, body = await running.ask("POST", "admin-lane-test", {"lane": "works", "model": "plain"})
    assert (status, body["code"]) == (429, "RATE_LIMITED")


async def test_the_piece_of_a_new_lane_is_valid_yaml_with_names_of_variables_only(operator: Operator) -> None:
    plugins = {one["name"]: one for one in (await operator.get("admin-lane-snippet"))["plugins"]}
    key = next(one for one in plugins["openai"]["options"] if one["name"] == "api_key")
    assert (key["is_secret"], key["is_required"]) == (True, True)
    body = {
        "name": "mine",
        "plugin": "openai",
        "options": {"base_url": "https://vendor.example/v1"},
        "variables": {"api_key": "MY_KEY"},
        "models": [
            {"name": "small", "upstream": "gpt: 4 #mini", "price_input_usd": "1", "price_output_usd": "2.5"},
            {"name": "listed", "upstream": "gpt-4o-mini", "price": "list + 31%"},
            {"name": "vectors", "type": "embed", "dimensions": 64, "price_input_usd": "0.1"},
        ],
    }
    made = await operator.send("POST", "admin-lane-snippet", body)
    assert (made["ok"], made["mistakes"], made["variables"]) == (True, [], ["MY_KEY"])
    section = check(read_text(made["yaml"], "kaixu.yaml", {"MY_KEY": "value"})).lanes["mine"]
    assert section.models["small"].upstream == "gpt: 4 #mini"
    assert section.options == {"base_url": "https://vendor.example/v1", "api_key": "value"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"plugin": "opnai"}, "there is no plugin `opnai`; did you mean `openai`?"),
        ({"name": "a b"}, "`name` must be"),
        ({"variables": {"api_key": "sk-a key itself"}}, "must name environment variables"),
        ({"options": {"api_key": "sk-secret"}}, "is a secret"),
        ({"options": {"base_ulr": "x"}}, "has no option `base_ulr`; did you mean `base_url`?"),
        ({"options": {"base_url": "x\n  evil: 1"}}, "must hold text"),
        ({"models": []}, "must hold 1 to"),
        ({"models": [{"name": "x", "price_input_usd": "1e9"}]}, "must be USD per million tokens"),
        ({"models": [{"name": "x"}, {"name": "x"}]}, "twice"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
async def test_what_is_no_piece_is_refused_by_name(operator: Operator, given: dict[str, Any], said: str) -> None:
    body = {"name": "mine", "plugin": "openai", "models": [{"name": "x"}]} | given
    status, reply = await operator.ask("POST", "admin-lane-snippet", body)
    assert status in (400, 422), reply
    assert said in reply["error"]
    assert "sk-" not in str(reply)


async def test_a_piece_that_kaixu_yaml_would_refuse_says_so_with_its_line(operator: Operator, app: Quart) -> None:
    body = {"name": "mine", "plugin": "echo", "models": [{"name": "x", "type": "embed", "price_input_usd": "1"}]}
    made = await operator.send("POST", "admin-lane-snippet", body)
    assert made["mistakes"] == ["line 6: plugin `echo` has no embed models"]
    body = {"name": "mine", "plugin": "openai", "models": [{"name": "x", "price_input_usd": "1"}]}
    made = await operator.send("POST", "admin-lane-snippet", body)
    assert made["ok"] is False
    assert "needs `output`" in made["mistakes"][0]
