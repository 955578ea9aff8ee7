"""A job that pauses after its vendor has worked: nothing is billed, and the operator sees what was used."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, ClassVar

import aiohttp
import asyncpg
import pytest

from kaixu.reports.reconcile import reconcile
from kaixu.store.pool import open_pool
from tests.support.money import customer, virtual_key
from tests.support.process import Process
from tests.vendors.stage import database, gateway

PLUGIN = """
import httpx
import msgspec
from kaixu.plugin import Again, Free, Integration, Job, Operation, Options, PerCall, PerUnit, WireUrl, hookimpl

class Settings(Options):
    vendor: WireUrl

class Order(msgspec.Struct):
    job: str
    pages: int = 0
    cost: int = 0
    asks: bool = False

class Started(msgspec.Struct):
    job: str

async def begin(call):
    return Started(str(await call.enqueue(call.body.job, call.body)))

async def work(call):
    body = call.body
    if body.asks:
        async with call.wire.send(httpx.Request("GET", f"{call.options.vendor}/{call.request_id}")) as answer:
            answered = (await answer.aread()) == b"ready"
    else:
        answered = SEEN.setdefault(call.request_id, 0) > 0
        SEEN[call.request_id] += 1
    if body.pages:
        call.count("pages", body.pages)
    if body.cost:
        call.vendor_cost_nusd(body.cost)
    if not answered:
        raise Again(0.01)
    return body

SEEN = {}

@hookimpl
def register_integrations(register):
    pages = PerUnit("page", unit="pages", most=100)
    register(Integration(
        "print",
        [Operation("print.begin", begin, Order, Free("billed by its job"))],
        options=Settings,
        jobs=[
            Job("print.pages", work, Order, pages, on_failure="release"),
            Job("print.whole", work, Order, PerCall("whole"), on_failure="release"),
            Job("print.free", work, Order, Free("a test")),
        ],
    ))
"""
PAGE = 10**6


class Vendor(BaseHTTPRequestHandler):
    """Is ready when it is asked for the same a second time."""

    asked: ClassVar[set[str]] = set()

    def do_GET(self) -> None:
        body = b"ready" if self.path in self.asked else b"not yet"
        self.asked.add(self.path)
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


class House:
    """Runs jobs of one gateway."""

    def __init__(self, process: Process, http: aiohttp.ClientSession, pool: asyncpg.Pool) -> None:
        self.process = process
        self.http = http
        self.pool = pool

    async def events(self, **order: Any) -> list[tuple[Any, ...]]:
        """What the events of one job say, after it has ended: end reason, cost, units, the vendor's cost."""
        customer_id = await customer(self.pool)
        _, key = await virtual_key(self.pool, customer_id)
        headers = {"authorization": f"Bearer {key}"}
        async with self.http.post(f"{self.process.url}/v1/print/begin", json=order, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            job = (await answer.json())["job"]
        async with asyncio.timeout(30):
            while await self.pool.fetchval("select status from kaixu.job where id::text = $1", job) != "succeeded":
                await asyncio.sleep(0.05)
        rows = await self.pool.fetch(
            "select end_reason, cost_nusd, units, vendor_cost_nusd from kaixu.usage_event"
            " where customer_id = $1 and operation like 'job:%' order by id",
            customer_id,
        )
        async with self.pool.acquire() as connection:
            assert (await reconcile(connection)).differences == []
        return [
            (row["end_reason"], row["cost_nusd"], row["units"].get("undelivered"), row["vendor_cost_nusd"])
            for row in rows
        ]


@pytest.fixture(scope="module")
def shared(server_dsn: str, pristine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    home = tmp_path_factory.mktemp("print")
    (home / "print.py").write_text(PLUGIN)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Vendor)
    Thread(target=server.serve_forever, daemon=True).start()
    vendor = f"http://127.0.0.1:{server.server_port}"
    config = f"integrations: {{print: {{plugin: ./print.py, price: {{page: 0.001, whole: 1}}, vendor: '{vendor}'}}}}"
    with database(server_dsn, pristine) as dsn, gateway(home, dsn, config) as process:
        yield process
    server.shutdown()
    server.server_close()


@pytest.fixture
async def house(shared: Process, http: aiohttp.ClientSession) -> AsyncIterator[House]:
    pool = await open_pool(shared.environment["DATABASE_URL"])
    yield House(shared, http, pool)
    await pool.close()


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (
            {"job": "print.pages", "pages": 3, "asks": True},
            [("undelivered", 0, "RUNS_AGAIN", 0), ("complete", 3 * PAGE, None, 0)],
        ),
        (
            {"job": "print.pages", "pages": 3, "asks": True, "cost": 7},
            [("undelivered", 0, "RUNS_AGAIN", 7), ("complete", 3 * PAGE, None, 7)],
        ),
        ({"job": "print.pages", "pages": 3}, [("complete", 3 * PAGE, None, 0)]),
        ({"job": "print.pages", "asks": True}, [("complete", 0, None, 0)]),
        ({"job": "print.whole", "asks": True}, [("complete", 1000 * PAGE, None, 0)]),
        (
            {"job": "print.whole", "asks": True, "cost": 7},
            [("undelivered", 0, "RUNS_AGAIN", 7), ("complete", 1000 * PAGE, None, 7)],
        ),
        ({"job": "print.free", "asks": True}, [("complete", 0, None, 0)]),
        (
            {"job": "print.free", "cost": 7},
            [("undelivered", 0, "RUNS_AGAIN", 7), ("complete", 0, None, 7)],
        ),
    ],
    ids=lambda value: "-".join(str(one) for one in value.values()) if isinstance(value, dict) else "",
)
async def test_what_a_job_has_used_before_a_pause_is_not_billed_and_not_lost(
    house: House, order: dict[str, Any], expected: list[tuple[Any, ...]]
) -> None:
    assert await house.events(**order) == expected
