"""Three gateways and their Postgres are killed again and again under load: caps hold, and all figures agree afterwards.

`make slow` makes 3,000 calls in each way, `make test` 300.
"""

from __future__ import annotations

import asyncio
import csv
import io
import random
import shutil
import tempfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from kaixu.store.embedded import EmbeddedPostgres
from kaixu.store.migrate import migrate
from kaixu.store.partitions import ensure_partitions
from kaixu.store.pool import AWAY, open_pool
from tests.conftest import memory
from tests.e2e.test_crashes import kill_postgres
from tests.store.test_money_properties import over_cap
from tests.support.money import assert_books_balance, customer, virtual_key
from tests.support.process import SECRETS, Process
from tests.support.rollups import assert_folded_rollups_agree, assert_rollups_agree
from tests.support.size import size
from tests.support.vendor import Vendor

CALLS = size(300, 3_000)
AT_ONCE = 16

#: A call costs at most 14 input tokens at 1,000 nano-dollars and its output at 2,000.
CAP_NUSD = 120_000 * CALLS
END_USER_CAP_NUSD = 15_000 * CALLS
END_USERS = ("ada", "bob", None)
MODELS = ("stream-8-3", "status-500", "stream-20-2", "cut-3", "silent", "stream-300-5")

CONFIG = """
gateway: {{reservation_s: 3, on_lost: {on_lost}, jobs: {{workers: 2, lease_s: 2, attempts: 3}}}}
lanes:
  up: {{plugin: openai, base_url: "{url}", api_key: vendor-key, retries: 0, models: {{{models}}}}}
  spare: {{plugin: openai, base_url: "{url}", api_key: vendor-key, retries: 0, models: {{ok: {{{price}}}}}}}
"""
PRICE = "type: chat, price: {input: 1, output: 2}, cost: {input: 0.5, output: 1}"


@pytest.fixture
async def own_postgres() -> AsyncIterator[tuple[EmbeddedPostgres, str]]:
    """A Postgres of this test's own, to be killed."""
    home = Path(tempfile.mkdtemp(prefix="kaixu-tests-", dir=memory()))
    home.chmod(0o755)
    embedded = EmbeddedPostgres(home)
    dsn = await asyncio.to_thread(embedded.start)
    connection = await asyncpg.connect(dsn)
    await migrate(connection)
    await ensure_partitions(connection)
    await connection.close()
    yield embedded, dsn
    await asyncio.to_thread(embedded.revive)
    await asyncio.to_thread(embedded.server.cleanup)
    shutil.rmtree(home, ignore_errors=True)


class Load:
    """Calls of all kinds to whichever gateway; what became of them does not matter here."""

    def __init__(self, draw: random.Random, gateways: list[Process], keys: list[str]) -> None:
        self.draw = draw
        self.gateways = gateways
        self.keys = keys
        self.started = 0
        self.statuses: dict[int, int] = {}

    async def run(self, http: aiohttp.ClientSession) -> None:
        """One of those that call."""
        while self.started < CALLS:
            self.started += 1
            status = await self.call(http)
            self.statuses[status] = self.statuses.get(status, 0) + 1
            if status in (0, 503):
                await asyncio.sleep(0.1)

    async def call(self, http: aiohttp.ClientSession) -> int:
        """One call: plain, streamed, left early, or a job. Its status; 0: none came."""
        draw = self.draw
        kind = draw.choice(("chat", "chat", "stream", "stream", "left", "job"))
        body: dict[str, Any] = {
            "provider": "up",
            "model": draw.choice(MODELS),
            "messages": [{"role": "user", "content": "hello"}],
            "max_tokens": draw.choice((4, 20, 64)),
        }
        if (user := draw.choice(END_USERS)) is not None:
            body["user"] = user
        headers = {"authorization": f"Bearer {draw.choice(self.keys)}"}
        if draw.random() < 0.5:
            headers["x-kaixu-app"] = draw.choice(("shop", "site"))
        name = {"chat": "gateway-chat", "job": "gateway-job-submit"}.get(kind, "gateway-stream")
        url = f"{draw.choice(self.gateways).url}/api/{name}"
        try:
            async with http.post(url, json=body, headers=headers) as response:
                if kind == "left" and response.status == 200:
                    await response.content.readany()
                    response.close()
                else:
                    await response.read()
                return response.status
        except (aiohttp.ClientError, TimeoutError, ConnectionError):
            return 0


@pytest.mark.parametrize("on_lost", ["release", "charge"])
async def test_kills_at_any_moment_leave_books_that_agree(
    on_lost: str, own_postgres: tuple[EmbeddedPostgres, str], tmp_path: Path
) -> None:
    embedded, dsn = own_postgres
    draw = random.Random(f"books {on_lost}")
    vendor = Vendor()
    await vendor.start()
    models = ", ".join(f"{name}: {{{PRICE}, fallback: [spare/ok]}}" for name in MODELS)
    config = CONFIG.format(url=vendor.url, models=models, price=PRICE, on_lost=on_lost)
    gateways = [Process(tmp_path / f"gateway{at}", dsn, config) for at in range(3)]
    pool = await open_pool(dsn)
    try:
        await asyncio.gather(*(gateway.start() for gateway in gateways))
        customers = [await customer(pool, cap_nusd=CAP_NUSD, end_user_cap_nusd=END_USER_CAP_NUSD) for _ in range(2)]
        keys = [(await virtual_key(pool, one))[1] for one in customers for _ in range(2)]
        load = Load(draw, gateways, keys)
        over: list[Any] = []
        ended = asyncio.Event()

        async def trouble() -> None:
            for turn in range(size(3, 20)):
                await asyncio.sleep(0.8 + draw.random())
                victim = gateways[turn % 3]
                if turn % 3 != 1:
                    victim.kill()
                if turn % 3 != 0:
                    kill_postgres(embedded)
                    await asyncio.sleep(draw.random())
                    await asyncio.to_thread(embedded.revive)
                    await pool.expire_connections()
                if turn % 3 != 1:
                    await started_again(victim)

        async def watch() -> None:
            while not ended.is_set():
                try:
                    over.extend(await over_cap(pool))
                    await pool.fetch("select kaixu.fold_usage(p_most_rows => 5)")
                    await assert_rollups_agree_at_one_moment(pool)
                except (*AWAY, asyncpg.PostgresError):
                    await asyncio.sleep(0.1)
                await asyncio.sleep(0.05)

        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, force_close=True), timeout=aiohttp.ClientTimeout(total=60)
        ) as http:
            watching = asyncio.ensure_future(watch())
            await asyncio.gather(trouble(), *(load.run(http) for _ in range(AT_ONCE)))
            ended.set()
            await watching
            assert over == []
            await settled(pool, gateways)
            assert await over_cap(pool) == []
            await assert_books_balance(pool)
            await assert_rollups_agree(pool)
            assert load.statuses.get(200, 0) > CALLS // 10, load.statuses
            assert not {500, 501} & load.statuses.keys(), load.statuses
            figures = [await figures_of(http, gateways[0], one, pool) for one in customers]
            assert [{*one.values()} for one in figures] == [{one["events"]} for one in figures], figures
            await assert_folded_rollups_agree(pool)
            assert [await figures_of(http, gateways[1], one, pool) for one in customers] == figures
        done = await gateways[0].command("reconcile")
        assert done.returncode == 0, done.stdout + done.stderr
        assert not [*tmp_path.glob("gateway*/spool/*.refused*")]
    finally:
        for gateway in gateways:
            await gateway.stop()
        await vendor.stop()
        pool.terminate()


async def started_again(gateway: Process) -> None:
    """Start a gateway; it does not start while its database is away, and a busy machine needs a while."""
    for attempt in range(6):
        try:
            await gateway.start()
        except AssertionError:
            if attempt == 5:
                raise
        else:
            return


async def assert_rollups_agree_at_one_moment(pool: asyncpg.Pool) -> None:
    """Roll-ups and events agree at any moment, seen in one snapshot."""
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        await assert_rollups_agree(connection)


async def settled(pool: asyncpg.Pool, gateways: list[Process]) -> None:
    """Wait until no call runs, no job waits, and nothing is in a spool."""
    async with asyncio.timeout(90):
        while True:
            open_rows = await pool.fetchval(
                "select (select count(*) from kaixu.reservation) "
                "+ (select count(*) from kaixu.job where status in ('queued', 'running'))"
            )
            if open_rows == 0 and not [file for one in gateways for file in (one.home / "spool").glob("*.jsonl")]:
                return
            await asyncio.sleep(0.2)


async def figures_of(
    http: aiohttp.ClientSession, gateway: Process, customer_id: int, pool: asyncpg.Pool
) -> dict[str, int]:
    """What a customer has spent this month in nano-dollars, by where it is told."""
    url = f"{gateway.url}/api"
    async with http.post(f"{url}/admin-login", json={"password": SECRETS["ADMIN_PASSWORD"]}) as response:
        headers = {"authorization": f"Bearer {(await response.json())['token']}"}

    async def read(name: str, method: str = "GET", **query: Any) -> Any:
        async with http.request(method, f"{url}/{name}", params=query, headers=headers) as response:
            text = await response.text()
            assert response.status == 200, (name, text)
            return await response.json() if response.content_type == "application/json" else text

    def nusd(text: str) -> int:
        return int(Decimal(text) * 10**9)

    month = f"{datetime.now(UTC):%Y-%m}"
    usage = await read("admin-usage", customer_id=customer_id, month=month)
    chart = await read("admin-usage-chart", customer_id=customer_id, by="model", month=month)
    margin = await read("admin-usage-margin", by="customer", month=month)
    invoice = await read("admin-invoices", "POST", customer_id=customer_id, month=month)
    export = await read("admin-export", customer_id=customer_id, month=month, columns="cost_usd", limit="all")
    rows = list(csv.DictReader(io.StringIO("\n".join(line for line in export.split("\n") if line[:1] != "#"))))
    return {
        "events": await pool.fetchval(
            "select coalesce(sum(cost_nusd), 0)::bigint from kaixu.usage_event where customer_id = $1", customer_id
        ),
        "usage": nusd(usage["rollup"]["spent_usd"]),
        "usage by key": sum(nusd(one["spent_usd"]) for one in usage["per_key"]),
        "chart": sum(nusd(one["spent_usd"]) for one in chart["rows"]),
        "margin": sum(nusd(one["spent_usd"]) for one in margin["rows"] if one["id"] == str(customer_id)),
        "export": sum(nusd(row["cost_usd"]) for row in rows),
        "invoice": sum(line["amount_nusd"] for line in invoice["snapshot"]["lines"]),
    }
