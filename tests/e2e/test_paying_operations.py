"""Operations that a customer without money can call, those that bring money in, and webhooks with a reply of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import asyncpg
import pytest

from kaixu.store.pool import open_pool
from tests.support.money import customer, virtual_key
from tests.support.process import Process
from tests.vendors.stage import database

PLUGIN = """
import msgspec
from kaixu.plugin import (
    Free, Integration, Job, Key, Operation, Operator, Panel, Rate, Webhook, WebhookEvent, hookimpl, panels,
)

class Nothing(msgspec.Struct):
    pass

class Who(msgspec.Struct):
    customer: int | None
    key: int | None
    caller: list[str | None]
    job: str | None = None

async def pay(call):
    one = call.caller
    job = await call.enqueue("till.work", Nothing())
    return Who(call.customer_id, call.key_id, [one.kind, one.role, one.key_last4, one.email], str(job))

async def owners(call):
    return Who(call.customer_id, call.key_id, [])

async def work(call):
    return Nothing()

def verify(body, headers, options, now):
    return WebhookEvent("e1", "paid")

async def show(view):
    return [panels.Stat("Left", panels.Money((await view.balance()).available_nusd))]

@hookimpl
def register_integrations(register):
    free = Free("a test")
    register(Integration(
        "till",
        [
            Operation("till.pay", pay, Nothing, free, admission="key", rate=Rate(3, per_s=60)),
            Operation("till.own", owners, Nothing, free, admission="key", auth=Key("owner")),
            Operation("till.call", owners, Nothing, free),
            Operation("till.book", owners, Nothing, free, auth=Operator(scope="money")),
            Operation("till.change", owners, Nothing, free, auth=Operator()),
        ],
        jobs=[Job("till.work", work, Nothing, free)],
        webhooks=[Webhook("events", verify, work, reply="ok")],
        panels=[Panel("Till", "Money", show, place="dashboard")],
    ))
    register(Integration("bad", [Operation("bad.pay", pay, Nothing, free, admission="key", at_once=2)]))
"""


class Till:
    def __init__(self, http: aiohttp.ClientSession, process: Process, pool: asyncpg.Pool) -> None:
        self.http = http
        self.process = process
        self.pool = pool

    async def post(self, path: str, credential: str = "", body: Any = None, **headers: str) -> tuple[int, Any]:
        if credential:
            headers["authorization"] = f"Bearer {credential}"
        async with self.http.post(self.process.url + path, json=body or {}, headers=headers) as reply:
            is_json = reply.content_type == "application/json"
            return reply.status, await (reply.json() if is_json else reply.text())


@pytest.fixture(scope="module")
def process(server_dsn: str, pristine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    home = tmp_path_factory.mktemp("till")
    (home / "till.py").write_text(PLUGIN)
    config = "integrations:\n  till: {plugin: ./till.py}\n  bad: {plugin: ./till.py}\n"
    with database(server_dsn, pristine) as dsn:
        one = Process(home, dsn, config, ADMIN_PASSWORD_HEADER="true")
        try:
            yield asyncio.run(one.start())
        finally:
            asyncio.run(one.stop())


@pytest.fixture
async def till(process: Process, http: aiohttp.ClientSession) -> AsyncIterator[Till]:
    pool = await open_pool(process.environment["DATABASE_URL"])
    yield Till(http, process, pool)
    await pool.close()


async def test_who_has_no_money_may_not_call_but_can_pay(till: Till) -> None:
    customer_id = await customer(till.pool, cap_nusd=0)
    key_id, key = await virtual_key(
        till.pool, customer_id, role="viewer", rpm_limit=1, allowed_providers=["up"], require_install_id=True
    )
    assert (await till.post("/v1/till/call", key))[0] == 403  # the allowlist
    status, who = await till.post("/v1/till/pay", key)
    email = await till.pool.fetchval("select email from kaixu.customer where id = $1", customer_id)
    assert status == 200, who
    assert (who["customer"], who["key"], who["caller"]) == (customer_id, key_id, ["key", "viewer", key[-4:], email])
    owner = await till.pool.fetchval("select customer_id from kaixu.job where id = $1", who["job"])
    assert owner == customer_id
    for _ in range(2):
        assert (await till.post("/v1/till/pay", key))[0] == 200
    assert (await till.post("/v1/till/pay", key))[0] == 429  # its own rate
    assert not await till.pool.fetchval(
        "select count(*) from kaixu.usage_event where customer_id = $1 and operation = 'till.pay'", customer_id
    )


async def test_the_key_its_role_and_its_customer_are_checked(till: Till) -> None:
    customer_id = await customer(till.pool)
    _, viewer = await virtual_key(till.pool, customer_id, role="viewer")
    _, owner = await virtual_key(till.pool, customer_id, role="owner")
    assert (await till.post("/v1/till/own", viewer))[1]["code"] == "ROLE_TOO_LOW"
    assert (await till.post("/v1/till/own", owner))[0] == 200
    assert (await till.post("/v1/till/own", "kx_live_" + "a" * 48))[0] == 401
    await till.pool.execute("update kaixu.customer set is_active = false where id = $1", customer_id)
    assert (await till.post("/v1/till/pay", owner))[1]["code"] == "CUSTOMER_DISABLED"
    await till.pool.execute("update kaixu.virtual_key set revoked_at = now() where customer_id = $1", customer_id)
    assert (await till.post("/v1/till/pay", viewer))[0] == 401


async def test_a_token_for_money_may_bring_money_in_and_nothing_else(till: Till) -> None:
    customer_id = await customer(till.pool)
    password = {"x-admin-password": till.process.environment["ADMIN_PASSWORD"]}
    made = await till.post("/api/admin-tokens", body={"name": f"till {customer_id}", "scopes": ["money"]}, **password)
    token = made[1]["token"]["token"]
    body = {"customer_id": customer_id}
    assert (await till.post("/v1/till/book", token, body))[0] == 200
    assert (await till.post("/v1/till/change", token, body))[0] == 403


async def test_a_webhook_answers_with_its_own_text(till: Till) -> None:
    assert await till.post("/v1/till/webhooks/events") == (200, "ok")


async def test_a_panel_shows_what_its_customer_has(till: Till) -> None:
    _, key = await virtual_key(till.pool, await customer(till.pool, cap_nusd=12_340_000_000), role="owner")
    form = {"key": key}
    url = till.process.url
    async with till.http.post(
        f"{url}/gateway/dashboard/sign-in", data=form, headers={"sec-fetch-site": "same-origin"}, allow_redirects=False
    ) as signed_in:
        cookie = signed_in.headers["set-cookie"].partition(";")[0]
    headers = {"cookie": cookie, "accept": "text/html"}
    async with till.http.get(f"{url}/gateway/dashboard/integrations/till/till", headers=headers) as page:
        assert "$12.34" in await page.text()


async def test_at_once_cannot_be_kept_without_an_admission(till: Till) -> None:
    checked = await till.process.command("check")
    assert 'with `admission="key"` an operation has no uploads, no `at_once`' in checked.stdout + checked.stderr
