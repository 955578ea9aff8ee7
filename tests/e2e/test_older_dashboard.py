"""The older edition's dashboard: every call of its page in its order, with the headers that it sends, against a real gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import httpx
import pytest

from kaixu.plugin.types import Usage
from tests.support.calls import billed
from tests.support.money import customer, virtual_key
from tests.support.process import Process

FUNCTIONS = "/.netlify/functions"
PAGE = "https://dashboard.example"

#: What the page reads of each reply.
MONTH = {
    "customer_cap_cents", "customer_spent_cents", "customer_remaining_cents", "key_cap_cents", "key_spent_cents",
    "key_remaining_cents", "key_tokens", "customer_tokens",
}  # fmt: skip
EVENT = {"id", "provider", "model", "input_tokens", "output_tokens", "cost_cents", "install_id", "created_at"}
PROVIDER = {"provider", "calls", "cost_cents", "input_tokens", "output_tokens"}
DEVICE = {
    "api_key_id", "install_id", "device_label", "first_seen_at", "last_seen_at", "revoked_at", "revoked_by",
    "last_seen_ua",
}  # fmt: skip


@pytest.fixture
async def page(refusing: Process) -> AsyncIterator[httpx.AsyncClient]:
    """The page: it names JSON as its content type on every request, also on GETs."""
    headers = {"content-type": "application/json", "origin": PAGE}
    async with httpx.AsyncClient(base_url=f"{refusing.url}{FUNCTIONS}", headers=headers, trust_env=False) as client:
        yield client


async def ok(page: httpx.AsyncClient, method: str, path: str, body: object = None) -> httpx.Response:
    """A call that the page expects to succeed."""
    response = await page.request(method, path, json=body) if body is not None else await page.request(method, path)
    assert response.status_code == 200, (path, response.text)
    return response


@pytest.mark.parametrize("stored", ["key", "session"])
async def test_the_dashboard_works_as_it_is(page: httpx.AsyncClient, refusing_pool: asyncpg.Pool, stored: str) -> None:
    pool = refusing_pool
    customer_id = await customer(pool, cap_nusd=2 * 10**10)
    await pool.execute("update kaixu.customer set email = $2 where id = $1", customer_id, f"{stored}@example.com")
    key_id, key = await virtual_key(pool, customer_id, label="main", role="owner")
    await billed(pool, key_id, Usage(input_tokens=1000, output_tokens=10), cost=123_000_000, install_id="laptop")
    month: str = await pool.fetchval("select to_char(now() at time zone 'UTC', 'YYYY-MM')")
    page.headers["authorization"] = f"Bearer {key}"
    # The page for logging in keeps the session's token in the place of the key.
    login = (await ok(page, "POST", "/session-token", {})).json()
    assert login["key_last4"] == key[-4:]
    if stored == "session":
        page.headers["authorization"] = f"Bearer {login['token']}"

    summary = (await ok(page, "GET", f"/user-summary?month={month}")).json()
    assert set(summary["month"]) >= MONTH
    assert (summary["customer"]["id"], summary["customer"]["plan_name"]) == (customer_id, "starter")
    assert summary["key"]["label"] == "main"
    shown = summary["month"]
    assert shown["customer_cap_cents"] - shown["customer_spent_cents"] >= shown["customer_remaining_cents"]
    assert (shown["customer_spent_cents"], shown["key_spent_cents"], shown["key_tokens"]) == (12, 12, 1010)

    events = (await ok(page, "GET", f"/user-events?month={month}&limit=200")).json()
    [event], [provider] = events["events"], events["summary_by_provider"]
    assert set(event) >= EVENT
    assert set(provider) >= PROVIDER
    assert provider["cost_cents"] == shown["key_spent_cents"] == event["cost_cents"]

    devices = (await ok(page, "GET", "/user-devices")).json()["devices"]
    assert [set(device) >= DEVICE for device in devices] == [True]
    for revoked in (True, False):
        changed = (await ok(page, "PATCH", "/user-devices", {"install_id": "laptop", "revoked": revoked})).json()
        assert changed["ok"]
        assert (changed["devices"][0]["revoked_at"] is not None) == revoked

    for kind in ("events", "summary", "invoice"):
        file = await ok(page, "GET", f"/user-export?type={kind}&month={month}")
        assert file.headers["content-type"].startswith("text/csv")
        assert f"kaixu-{kind}-{month}-" in file.headers["content-disposition"]
    invoice = (await ok(page, "GET", f"/user-invoices?month={month}")).json()
    assert invoice["snapshot"]["totals"]["spent_cents"] == shown["customer_spent_cents"]
    assert (await ok(page, "GET", "/push-whoami")).json()["role"] == "owner"
    charges = (await ok(page, "GET", f"/user-push-charges?month={month}")).json()
    assert charges["total_push_cents"] == 0


async def test_the_status_strip_needs_no_key_and_works_on_every_page(page: httpx.AsyncClient) -> None:
    asked = {"access-control-request-method": "GET", "access-control-request-headers": "content-type"}
    preflight = await page.request("OPTIONS", "/gateway-heartbeat-read?history=1", headers=asked)
    assert (preflight.status_code, preflight.content) == (204, b"")
    assert preflight.headers["access-control-allow-origin"] in ("*", PAGE)
    assert "content-type" in preflight.headers["access-control-allow-headers"]
    reply = await ok(page, "GET", "/gateway-heartbeat-read?history=1")
    assert reply.headers["access-control-allow-origin"] in ("*", PAGE)
    body = reply.json()
    assert {"ok", "last", "failures", "history"} <= set(body)
    assert isinstance(body["failures"]["streak"], int)
    # Every other endpoint goes on asking for an origin that the operator has allowed.
    other = await page.request("OPTIONS", "/user-summary", headers=asked)
    assert "access-control-allow-origin" not in other.headers
