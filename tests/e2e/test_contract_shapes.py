"""Every endpoint for operators, for customers' own data and for everybody answers with the fields of its row."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from kaixu.plugin.types import Usage
from kaixu.store.pool import open_pool
from tests.support.calls import billed
from tests.support.money import customer, virtual_key
from tests.support.process import SECRETS, Process, config_for
from tests.vendors.stage import database, gateway

from .contract_table import FILES, TABLE, Case, Maybe

FUNCTIONS = "/.netlify/functions"

PLATFORMS = """
platforms:
  backup_model: up/ok
  surfaces:
    skyefuelstation: {title: Station, launch_url: /skyefuelstation/, storage_mode: gateway-metrics, visibility: public}
    cohort-command: {title: Cohorts, launch_url: /cohort-command/, storage_mode: platform-state}
"""


class House:
    """A gateway with a customer that has calls, keys, a device and a top-up, and everybody's credentials."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.words: dict[str, Any] = {"password": SECRETS["ADMIN_PASSWORD"]}
        self.headers: dict[str, dict[str, str]] = {"public": {}}

    async def furnish(self) -> None:
        """Make the customer."""
        pool = await open_pool(self.process.environment["DATABASE_URL"])
        customer_id = await customer(pool, plan_name="pro")
        key_id, key = await virtual_key(pool, customer_id, label="main", role="owner")
        for _ in range(2):
            usage = Usage(input_tokens=1000, output_tokens=10)
            await billed(pool, key_id, usage, cost=20_000_000, install_id="laptop")
        self.words |= {
            "customer": customer_id,
            "key": key_id,
            "last4": key[-4:],
            "spare": (await virtual_key(pool, customer_id))[0],
            "rotated": (await virtual_key(pool, customer_id))[0],
            "email": await pool.fetchval("select email from kaixu.customer where id = $1", customer_id),
            "month": f"{datetime.now(UTC):%Y-%m}",
        }
        await pool.close()
        async with self.client() as client:
            login = await client.post("/admin-login", json={"password": SECRETS["ADMIN_PASSWORD"]})
            self.headers["operator"] = {"authorization": f"Bearer {login.json()['token']}"}
            self.headers["key"] = self.headers["key_only"] = {"authorization": f"Bearer {key}"}
            session = await client.post("/session-token", json={}, headers=self.headers["key"])
            self.headers["session"] = {"authorization": f"Bearer {session.json()['token']}"}
            topup = {"customer_id": customer_id, "amount_cents": 100}
            await client.post("/admin-topup", json=topup, headers=self.headers["operator"])
            await client.get("/nothing-of-this-name", headers=self.headers["operator"])
            await client.post("/gateway-chat", content=b"{", headers=self.headers["key"])  # an event for the monitor
            for _ in range(200):
                events = await client.get("/admin-monitor-events", headers=self.headers["operator"])
                if events.json()["events"]:
                    return
                await asyncio.sleep(0.05)

    def client(self) -> httpx.AsyncClient:
        """A client of the functions."""
        return httpx.AsyncClient(base_url=f"{self.process.url}{FUNCTIONS}", trust_env=False, timeout=30)

    def filled(self, value: Any) -> Any:
        """A request with this customer's words: `"{customer}"` alone becomes the number."""
        if isinstance(value, str):
            alone = re.fullmatch(r"\{(\w+)\}", value)
            return self.words[alone[1]] if alone else value.format(**self.words) if "{" in value else value
        if isinstance(value, dict):
            return {name: self.filled(one) for name, one in value.items()}
        return value

    async def ask(self, case: Case, who: str | None = None) -> httpx.Response:
        """The reply to a case, as another one where `who` is given."""
        async with self.client() as client:
            return await client.request(
                case.method,
                "/" + str(self.filled(case.path)),
                headers=self.headers[who or case.who],
                **({} if case.body is None else {"json": self.filled(case.body)}),
            )


@pytest.fixture(scope="module")
def house(server_dsn: str, pristine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One gateway for all cases: they change nothing that another one needs."""
    config = config_for("http://127.0.0.1:1/v1", "ok") + PLATFORMS
    folder: Path = tmp_path_factory.mktemp("shapes")
    with database(server_dsn, pristine) as dsn, gateway(folder, dsn, config) as process:
        house = House(process)
        asyncio.run(house.furnish())
        yield house


def problems(shape: Any, value: Any, at: str = "reply") -> list[str]:
    """Where a value does not have its shape."""
    if isinstance(shape, tuple):
        found = [problems(one, value, at) for one in shape]
        return [] if [] in found else max(found, key=len)
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return [f"{at} is {value!r}, not an object"]
        missing = [f"{at}.{name} is missing" for name in shape if name not in value]
        return missing + [
            problem
            for name, one in shape.items()
            if name in value
            for problem in problems(one, value[name], f"{at}.{name}")
        ]
    if isinstance(shape, list):
        if not isinstance(value, list):
            return [f"{at} is {value!r}, not a list"]
        if not value and not isinstance(shape, Maybe):
            return [f"{at} is empty"]
        return [problem for i, one in enumerate(value) for problem in problems(shape[0], one, f"{at}[{i}]")]
    if isinstance(shape, re.Pattern):
        return [] if isinstance(value, str) and shape.fullmatch(value) else [f"{at} is {value!r}, not {shape.pattern}"]
    if shape is None:
        return [] if value is None else [f"{at} is {value!r}, not null"]
    fits = isinstance(value, shape) and not (shape is not bool and isinstance(value, bool))
    return [] if fits else [f"{at} is {value!r}, not of type {shape.__name__}"]


def check(case: Case, response: httpx.Response) -> None:
    """Status, content type, request id and fields of a reply."""
    assert response.status_code == case.status, response.text
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    assert response.headers["x-kaixu-request-id"]
    assert problems(case.shape, response.json()) == []


@pytest.mark.parametrize("case", TABLE, ids=lambda case: f"{case.name} {case.status} {case.path.partition('?')[2]}")
async def test_a_reply_has_the_fields_of_its_row(house: House, case: Case) -> None:
    check(case, await house.ask(case))
    if case.who == "key":
        check(case, await house.ask(case, "session"))


@pytest.mark.parametrize(
    "case", [case for case in TABLE if case.who != "public"], ids=lambda case: f"{case.name} {case.status}"
)
async def test_without_a_credential_or_with_another_ones_it_is_401(house: House, case: Case) -> None:
    others = [
        "public",
        "key" if case.who == "operator" else "operator",
        *(["session"] if case.who == "key_only" else []),
    ]
    for who in others:
        response = await house.ask(case, who)
        expected = 400 if case.who == "key_only" and who != "public" else 401
        assert response.status_code == expected, (who, response.text)
        body = response.json()
        assert {"error", "code", "request_id"} <= body.keys()
        assert body["request_id"] == response.headers["x-kaixu-request-id"]
        if case.who == "operator":
            assert body["error"] == "Unauthorized"


@pytest.mark.parametrize(("who", "path", "columns", "name"), FILES, ids=[f"{row[0]} {row[1]}" for row in FILES])
async def test_a_file_has_its_columns_and_its_name(house: House, who: str, path: str, columns: str, name: str) -> None:
    case = Case("GET", path, who, None)
    for one in (who, "session") if who == "key" else (who,):
        response = await house.ask(case, one)
        assert response.status_code == 200, response.text
        assert response.headers["content-type"] == "text/csv; charset=utf-8"
        assert response.headers["content-disposition"] == f'attachment; filename="{house.filled(name)}"'
        first, *rows = response.text.split("\n")
        assert first == columns
        assert rows[-1] == ""
        assert "\r" not in response.text
        assert len(rows) > 1


async def test_the_monitors_stream_says_hello_and_sends_events(house: House) -> None:
    url = "/admin-monitor-stream?after_id=1"
    async with house.client() as client, client.stream("GET", url, headers=house.headers["operator"]) as response:
        assert (response.status_code, response.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        lines = response.aiter_lines()
        frame = [await anext(lines) for _ in range(2)]
    assert frame[0] == "event: hello"
    assert problems({"ok": bool, "after_id": int, "now": (str, int)}, json.loads(frame[1].removeprefix("data: "))) == []


@pytest.mark.parametrize("prefix", ["/api", FUNCTIONS])
async def test_both_prefixes_serve_every_function(house: House, prefix: str) -> None:
    async with httpx.AsyncClient(base_url=house.process.url + prefix, trust_env=False, timeout=30) as client:
        for method, name in sorted({(case.method, case.name.split()[1]) for case in TABLE}):
            response = await client.request(method, f"/{name}")
            assert response.status_code not in (404, 405, 500), (method, name, response.text)
