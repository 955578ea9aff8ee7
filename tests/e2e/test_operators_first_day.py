"""An operator's first day over the API: customers, keys, calls, a cap that holds, exports, an invoice, and one figure.

What was spent is the same to the nano-dollar in the replies, usage, roll-ups, exports, the invoice and reconcile.
"""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from typing import Any

import aiohttp
import asyncpg

from tests.support.process import SECRETS, Client, Process

from .conftest import Start


class Operator:
    """Calls the operators' endpoints with a token."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self.http = http
        self.url = url
        self.headers: dict[str, str] = {}

    async def call(self, method: str, name: str, body: Any = None, **query: Any) -> Any:
        """One call that must succeed: its JSON, or its text."""
        async with self.http.request(
            method, f"{self.url}/.netlify/functions/{name}", json=body, params=query, headers=self.headers
        ) as response:
            text = await response.text()
            assert response.status in (200, 201), (name, response.status, text)
            return await response.json() if response.content_type == "application/json" else text

    async def login(self) -> None:
        """Log in with the password of the environment."""
        reply = await self.call("POST", "admin-login", {"password": SECRETS["ADMIN_PASSWORD"]})
        self.headers = {"authorization": f"Bearer {reply['token']}"}


def rows_of(text: str) -> list[dict[str, str]]:
    """The rows of a CSV without the line that counts them."""
    return list(csv.DictReader(io.StringIO("\n".join(line for line in text.split("\n") if not line.startswith("#")))))


def nusd(text: str) -> int:
    """Nano-dollars of an exact amount in USD."""
    return int(Decimal(text) * 10**9)


async def test_one_figure_on_the_first_day(http: aiohttp.ClientSession, pool: asyncpg.Pool, start: Start) -> None:
    [gateway] = await start(1)
    operator = Operator(http, gateway.url)
    await operator.login()

    # A customer with its first key, as the older page makes them: ids may be numbers or texts.
    made = await operator.call(
        "POST", "admin-customers", {"email": "ada@example.com", "plan_name": "pro", "monthly_cap_cents": 2000}
    )
    customer_id = made["customer"]["id"]
    master = await operator.call(
        "POST", "admin-keys", {"customer_id": str(customer_id), "label": "master", "role": "owner"}
    )
    key = master["api_key"]["key"]
    small = await operator.call(
        "POST", "admin-keys", {"customer_id": customer_id, "label": "small", "role": "deployer", "monthly_cap_cents": 0}
    )

    tags = {"x-kaixu-app": "shop", "x-kaixu-build": "7", "x-kaixu-install-id": "device-1"}
    client = Client(http, gateway.url, key, **tags)
    for _ in range(3):
        status, reply = await client.chat(user="end-user-1")
        assert status == 200, reply
    status, frames = await client.stream("stream-50-5")
    assert (status, frames[-1][0]) == (200, "done")
    other = Client(http, gateway.url, key)
    assert (await other.chat())[0] == 200
    assert (await Client(http, gateway.url, small["api_key"]["key"]).chat())[0] == 402
    status, reply = await client.chat("status-500")
    assert status == 502, reply
    rotated = await operator.call("PUT", "admin-keys", rotate_key_id=master["api_key"]["id"])
    client = Client(http, gateway.url, rotated["new_key"]["key"], **tags)
    assert (await client.chat(user="end-user-2"))[0] == 200
    await operator.call("POST", "admin-topup", {"customer_id": customer_id, "amount_cents": 500})

    spent = await pool.fetchval("select sum(cost_nusd)::bigint from kaixu.usage_event")
    assert spent > 0
    figures = await figures_of(operator, gateway, client, customer_id)
    assert figures == dict.fromkeys(figures, spent)
    assert len(figures) >= 10

    # The same after a restart, when changes have been moved into the roll-ups.
    await gateway.stop()
    await gateway.start()
    await pool.execute("select kaixu.fold_usage(p_most_rows => 100000)")
    assert await pool.fetchval("select count(*) from kaixu.usage_change") == 0
    again = await figures_of(operator, gateway, client, customer_id)
    assert again == dict.fromkeys(again, spent)
    command = await gateway.command("reconcile")
    assert command.returncode == 0, command.stdout + command.stderr

    # What went wrong is told with its customer.
    events = (await operator.call("GET", "admin-monitor-events", customer_id=customer_id))["events"]
    assert {event["kind"] for event in events} >= {"error", "blocked"}
    assert all(int(event["customer_id"]) == customer_id for event in events)


async def figures_of(operator: Operator, gateway: Process, client: Client, customer_id: int) -> dict[str, int]:
    """What was spent this month, by where it is told."""
    usage = await operator.call("GET", "admin-usage", customer_id=customer_id)
    month = usage["month"]
    export = await operator.call(
        "GET", "admin-export", customer_id=customer_id, month=month, type="events", columns="created_at,cost_usd,app_id"
    )
    events = rows_of(export)
    assert {event["app_id"] for event in events} == {"shop", ""}
    chart = await operator.call(
        "GET", "admin-usage-chart", customer_id=customer_id, by="model", **{"from": "now-24h", "to": "now"}
    )
    margin = await operator.call("GET", "admin-usage-margin", month=month, by="customer")
    explained = []
    for event in usage["events"]:
        explained += (await operator.call("GET", "admin-explain", event=event["id"]))["charges"]
    invoice = await operator.call("POST", "admin-invoices", customer_id=customer_id, month=month)
    async with client.http.get(f"{gateway.url}/api/user-summary", headers=client.headers) as response:
        summary = await response.json()
    return {
        "usage": nusd(usage["rollup"]["spent_usd"]),
        "usage by key": sum(nusd(one["spent_usd"]) for one in usage["per_key"]),
        "usage by event": sum(nusd(one["cost_usd"]) for one in usage["events"]),
        "export": sum(nusd(event["cost_usd"]) for event in events),
        "chart": sum(nusd(one["spent_usd"]) for one in chart["rows"]),
        "margin": sum(nusd(one["spent_usd"]) for one in margin["rows"]),
        "explained": sum(nusd(one["billed_usd"]) for one in explained),
        "invoice": nusd(invoice["snapshot"]["totals"]["spent_usd"]),
        "invoice lines": sum(nusd(line["amount_usd"]) for line in invoice["snapshot"]["lines"]),
        "user-summary": nusd(summary["month"]["customer_spent_usd"]),
    }
