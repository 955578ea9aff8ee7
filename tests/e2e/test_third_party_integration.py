"""An integration out of a package of its own (docs/examples/kaixu-relay), installed by pip, on a real gateway."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
from aiohttp import web

from tests.support.money import assert_books_balance, customer, spent_and_held, virtual_key
from tests.support.process import Process

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "kaixu-relay"

#: Nano-dollars: what the section below says.
MESSAGE, DELIVERY = 100_000, 500_000

CONFIG = """
gateway: {{reservation_s: 2, jobs: {{workers: {workers}, lease_s: 1}}}}
integrations:
  relay:
    hosts: ["http://127.0.0.1:{port}"]
    price: {{message: {message}, delivery: 0.0005}}
"""


class Receiver:
    """A customer's own server; `fails` says how often it answers 500 first."""

    def __init__(self) -> None:
        self.got: list[tuple[str, Any]] = []
        self.fails = 0
        self.requests = 0
        self.port = 0
        self.runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/in", self.receive)
        self.runner = web.AppRunner(app)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.port = self.runner.addresses[0][1]

    async def stop(self) -> None:
        assert self.runner is not None
        await self.runner.cleanup()

    async def receive(self, request: web.Request) -> web.Response:
        self.requests += 1
        if self.fails:
            self.fails -= 1
            return web.Response(status=500, text="a stranger's secret")
        self.got.append((request.headers["webhook-id"], await request.json()))
        return web.Response(status=204)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/in"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pip has put the package; nothing is fetched from anywhere."""
    folder = tmp_path_factory.mktemp("relay")
    source = shutil.copytree(EXAMPLE, folder / "source", ignore=shutil.ignore_patterns("__pycache__"))
    install = [
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps"),
        *("--no-build-isolation", "--target", str(folder / "site"), str(source)),
    ]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "site"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    await receiver.start()
    yield receiver
    await receiver.stop()


Serve = Callable[..., Process]


@pytest.fixture
async def serve(tmp_path: Path, dsn: str, site: Path, receiver: Receiver) -> AsyncIterator[Serve]:
    """Makes gateways with the package switched on; they are stopped at the end."""
    made: list[Process] = []

    def serve(*, workers: int = 4, message: str = "0.0001", installed: bool = True) -> Process:
        config = CONFIG.format(port=receiver.port, workers=workers, message=message)
        path = {"PYTHONPATH": str(site)} if installed else {}
        made.append(Process(tmp_path / f"gateway{len(made)}", dsn, config, **path))
        return made[-1]

    yield serve
    for process in made:
        await process.stop()


class Caller:
    """A client of the relay."""

    def __init__(self, http: aiohttp.ClientSession, gateway: Process, key: str) -> None:
        self.http, self.gateway, self.key = http, gateway, key

    async def post(self, path: str, body: Any) -> tuple[int, dict[str, Any]]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"authorization": f"Bearer {self.key}", "content-type": "application/json"}
        async with self.http.post(f"{self.gateway.url}/v1/{path}", data=BytesIO(data), headers=headers) as response:
            return response.status, await response.json()

    async def send(self, url: str, **message: Any) -> tuple[int, dict[str, Any]]:
        return await self.post("relay/send", {"url": url, "message": message})

    async def delivered(self, number: int) -> dict[str, Any]:
        async with asyncio.timeout(30):
            while True:
                status, said = await self.post("relay/status", {"id": number})
                assert status == 200, said
                if said["delivered"]:
                    return said
                await asyncio.sleep(0.05)


@pytest.fixture
async def customer_id(pool: asyncpg.Pool) -> int:
    return await customer(pool)


async def caller(
    http: aiohttp.ClientSession, pool: asyncpg.Pool, gateway: Process, customer_id: int, **of_key: Any
) -> Caller:
    return Caller(http, gateway, (await virtual_key(pool, customer_id, **{"role": "deployer", **of_key}))[1])


async def settled(pool: asyncpg.Pool) -> None:
    """Return when no call runs and no job waits any more."""
    async with asyncio.timeout(30):
        while await pool.fetchval(
            "select (select count(*) from kaixu.reservation) "
            "+ (select count(*) from kaixu.job where completed_at is null)"
        ):
            await asyncio.sleep(0.05)


async def bills(pool: asyncpg.Pool) -> list[tuple[str, int]]:
    """Every priced call, by operation."""
    rows = await pool.fetch(
        "select operation, cost_nusd from kaixu.usage_event where operation <> 'relay.status' order by id"
    )
    return [tuple(row) for row in rows]


async def test_a_message_is_accepted_delivered_and_both_are_billed(
    serve: Serve, http: aiohttp.ClientSession, pool: asyncpg.Pool, customer_id: int, receiver: Receiver
) -> None:
    gateway = await serve().start()
    relay = await caller(http, pool, gateway, customer_id)
    status, said = await relay.send(receiver.url, hello="world")
    assert (status, said["delivered"], said["tries"]) == (200, False, 0)
    assert (await relay.delivered(said["id"]))["tries"] == 1
    assert receiver.got == [(str(said["id"]), {"hello": "world"})]
    await settled(pool)
    assert await bills(pool) == [("relay.send", MESSAGE), ("job:relay.deliver", DELIVERY)]
    assert await spent_and_held(pool, customer_id) == (MESSAGE + DELIVERY, 0)
    rates = await pool.fetchval(
        "select p.rates from kaixu.usage_event e join kaixu.price p on p.id = e.price_id where e.operation = 'relay.send'"
    )
    assert rates == {"message": MESSAGE}
    [job] = await pool.fetch(
        "select customer_id, key_id, request_id, payload from kaixu.job where kind = 'relay.deliver'"
    )
    event = await pool.fetchrow(
        "select customer_id, key_id, request_id from kaixu.usage_event where operation = 'relay.send'"
    )
    assert event is not None
    assert (job["customer_id"], job["key_id"], job["request_id"]) == tuple(event)
    assert b'"id"' not in job["payload"]
    await assert_books_balance(pool)


async def test_a_cap_a_role_and_an_allowlist_are_asked_before_the_handler(
    serve: Serve, http: aiohttp.ClientSession, pool: asyncpg.Pool, customer_id: int, receiver: Receiver
) -> None:
    gateway = await serve().start()
    capped = await caller(http, pool, gateway, customer_id, monthly_cap_nusd=MESSAGE - 1)
    viewer = await caller(http, pool, gateway, customer_id, role="viewer")
    elsewhere = await caller(http, pool, gateway, customer_id, allowed_providers=["up"])
    looking = await caller(http, pool, gateway, customer_id, allowed_models={"relay": ["relay.status"]})
    told = [
        (status, said["code"])
        for status, said in [await one.send(receiver.url) for one in (capped, viewer, elsewhere, looking)]
    ]
    assert told == [
        (402, "CAP_REACHED"),
        (403, "ROLE_TOO_LOW"),
        (403, "PROVIDER_NOT_ALLOWED"),
        (403, "MODEL_NOT_ALLOWED"),
    ]
    assert (await looking.post("relay/status", {"id": 1}))[0] == 404
    assert await pool.fetchval("select count(*) from kaixu_relay.delivery") == 0
    assert await spent_and_held(pool, customer_id) == (0, 0)
    await assert_books_balance(pool)


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("relay/send", b"{", (400, "BAD_JSON", None)),
        ("relay/send", {"url": 1, "message": {}}, (422, "INVALID_FIELD", "url")),
        ("relay/send", {"url": "http://a", "message": {}, "more": 1}, (422, "INVALID_FIELD", "more")),
        ("relay/send", {"url": "http://elsewhere.example/", "message": {}}, (422, "INVALID_FIELD", "url")),
        ("relay/send", b'"' + b"a" * (9 << 20) + b'"', (413, "TOO_LARGE", None)),
        ("relay/snd", {}, (404, "NOT_FOUND", None)),
        ("relay/deliver", {"id": 1}, (404, "NOT_FOUND", None)),
        ("relay/expire", {}, (404, "NOT_FOUND", None)),
        ("relay", {}, (404, "NOT_FOUND", None)),
        ("relay/send.", {}, (404, "NOT_FOUND", None)),
    ],
    ids=["no json", "a wrong type", "an unknown field", "a host that is not allowed", "too long", "a typo", "a job", "a schedule", "no operation", "a dot at the end"],
)  # fmt: skip
async def test_what_cannot_be_served_is_refused_clearly_and_free(
    serve: Serve,
    http: aiohttp.ClientSession,
    pool: asyncpg.Pool,
    customer_id: int,
    path: str,
    body: Any,
    expected: tuple[int, str, str | None],
) -> None:
    gateway = await serve().start()
    status, said = await (await caller(http, pool, gateway, customer_id)).post(path, body)
    assert (status, said.get("code"), said.get("field")) == expected, said
    assert said["request_id"]
    if path == "relay/snd":
        assert "relay/send" in said["error"] + said.get("hint", "")
    assert await spent_and_held(pool, customer_id) == (0, 0)


async def test_another_customer_does_not_see_a_delivery(
    serve: Serve, http: aiohttp.ClientSession, pool: asyncpg.Pool, customer_id: int, receiver: Receiver
) -> None:
    gateway = await serve().start()
    _, said = await (await caller(http, pool, gateway, customer_id)).send(receiver.url)
    stranger = await caller(http, pool, gateway, await customer(pool))
    assert (await stranger.post("relay/status", {"id": said["id"]}))[0] == 404


async def test_a_delivery_that_fails_is_tried_again_and_billed_once(
    serve: Serve, http: aiohttp.ClientSession, pool: asyncpg.Pool, customer_id: int, receiver: Receiver
) -> None:
    receiver.fails = 1
    gateway = await serve().start()
    relay = await caller(http, pool, gateway, customer_id)
    _, said = await relay.send(receiver.url, n=1)
    assert (await relay.delivered(said["id"]))["tries"] == 2
    assert receiver.requests == 2
    assert len(receiver.got) == 1
    await settled(pool)
    assert await bills(pool) == [("relay.send", MESSAGE), ("job:relay.deliver", DELIVERY)]
    await assert_books_balance(pool)


async def test_a_delivery_that_is_refused_for_good_ends_unbilled_and_tells_nothing_of_the_receiver(
    serve: Serve, http: aiohttp.ClientSession, pool: asyncpg.Pool, customer_id: int, receiver: Receiver
) -> None:
    gateway = await serve().start()
    relay = await caller(http, pool, gateway, customer_id)
    await relay.send(receiver.url.replace("/in", "/nowhere"))
    await settled(pool)
    job = await pool.fetchrow("select status, error_code, error_message from kaixu.job where kind = 'relay.deliver'")
    assert job is not None
    assert job["status"] == "failed"
    assert await bills(pool) == [("relay.send", MESSAGE)]
    await assert_books_balance(pool)


async def test_policy_is_asked_again_when_a_delivery_runs(
    serve: Serve, http: aiohttp.ClientSession, pool: asyncpg.Pool, customer_id: int, receiver: Receiver
) -> None:
    gateway = await serve(workers=0).start()
    relay = await caller(http, pool, gateway, customer_id)
    assert (await relay.send(receiver.url))[0] == 200
    await pool.execute("update kaixu.virtual_key set revoked_at = now()")
    await serve().start()
    await settled(pool)
    assert await pool.fetchval("select error_code from kaixu.job where kind = 'relay.deliver'") == "UNAUTHENTICATED"
    assert receiver.got == []
    assert await bills(pool) == [("relay.send", MESSAGE)]


async def test_kill_9_between_accepting_and_delivering_loses_nothing(
    serve: Serve, http: aiohttp.ClientSession, pool: asyncpg.Pool, customer_id: int, receiver: Receiver
) -> None:
    gateway = await serve(workers=0).start()
    relay = await caller(http, pool, gateway, customer_id)
    sent = [(await relay.send(receiver.url, n=n))[1]["id"] for n in range(20)]
    gateway.kill()
    again = await serve().start()
    while not receiver.got:
        await asyncio.sleep(0.01)
    again.kill()  # in the middle of delivering
    await serve().start()
    await settled(pool)
    assert {number for number, _ in receiver.got} == {str(number) for number in sent}
    counted = await pool.fetch(
        "select operation, count(*), sum(cost_nusd) from kaixu.usage_event group by 1 order by 1"
    )
    assert [tuple(row) for row in counted] == [
        ("job:relay.deliver", 20, 20 * DELIVERY),
        ("relay.send", 20, 20 * MESSAGE),
    ]
    await assert_books_balance(pool)


async def test_its_schedule_runs_once_whoever_looks_and_without_a_customer(
    serve: Serve, http: aiohttp.ClientSession, pool: asyncpg.Pool, customer_id: int, receiver: Receiver
) -> None:
    gateways = [await serve().start(), await serve().start()]
    relay = await caller(http, pool, gateways[0], customer_id)
    numbers = [(await relay.send(receiver.url))[1]["id"] for _ in range(2)]
    await settled(pool)
    await pool.execute(
        "update kaixu_relay.delivery set created_at = now() - interval '31 days' where id = $1", numbers[0]
    )
    while not await pool.fetchval("select count(*) from kaixu.schedule"):
        await asyncio.sleep(0.05)
    await pool.execute("update kaixu.schedule set next_at = now()")
    async with asyncio.timeout(30):
        while await pool.fetchval("select count(*) from kaixu_relay.delivery") > 1:
            await asyncio.sleep(0.05)
    await settled(pool)
    jobs = await pool.fetch("select customer_id, status from kaixu.job where kind = 'relay.expire'")
    assert [tuple(row) for row in jobs] == [(None, "succeeded")]
    assert await pool.fetchval("select count(*) from kaixu.usage_event where operation like '%expire'") == 0
    shown = json.loads((await gateways[0].command("plugins", "--json")).stdout)
    [row] = [one for one in shown if one["name"] == "relay"]
    assert "relay.expire" in json.dumps(row)
    assert row["sends_to"] == {"relay": f"http://127.0.0.1:{receiver.port}"}
    assert "succeeded" in json.dumps(row)


async def test_a_reload_changes_the_price_and_the_options_of_what_comes_then(
    serve: Serve, http: aiohttp.ClientSession, pool: asyncpg.Pool, customer_id: int, receiver: Receiver
) -> None:
    gateway = await serve().start()
    relay = await caller(http, pool, gateway, customer_id)
    assert (await relay.send(receiver.url))[0] == 200
    text = gateway.config.read_text()
    gateway.config.write_text(text.replace("0.0001", "0.0003"))
    done = await gateway.command("reload")
    assert done.returncode == 0, done.stderr
    assert (await relay.send(receiver.url))[0] == 200
    gateway.config.write_text(text.replace("127.0.0.1:", "127.0.0.2:"))
    assert (await gateway.command("reload")).returncode == 0
    assert (await relay.send(receiver.url))[0] == 422
    await settled(pool)
    assert [bill for bill in await bills(pool) if bill[0] == "relay.send"] == [
        ("relay.send", MESSAGE),
        ("relay.send", 3 * MESSAGE),
    ]
    gateway.config.write_text(text.replace("message:", "massage:"))
    done = await gateway.command("reload")
    assert done.returncode == 1
    assert "did you mean `message`" in done.stderr + done.stdout


async def test_a_package_that_is_gone_answers_503_and_its_deliveries_wait(
    serve: Serve, http: aiohttp.ClientSession, pool: asyncpg.Pool, customer_id: int, receiver: Receiver
) -> None:
    gateway = await serve(workers=0).start()
    relay = await caller(http, pool, gateway, customer_id)
    _, said = await relay.send(receiver.url)
    await gateway.stop()
    without = await serve(installed=False).start()
    status, refused = await Caller(http, without, relay.key).send(receiver.url)
    assert (status, refused["code"]) == (503, "PLUGIN_FAILED")
    done = await without.command("check")
    assert done.returncode == 1
    assert "relay" in done.stderr
    await without.stop()
    with_it = await serve().start()
    assert (await Caller(http, with_it, relay.key).delivered(said["id"]))["tries"] == 1


async def test_plugins_shows_each_operation_with_its_price(serve: Serve) -> None:
    gateway = await serve().start()
    done = await gateway.command("plugins", "--json")
    assert done.returncode == 0, done.stderr
    [row] = [one for one in json.loads(done.stdout) if one["name"] == "relay"]
    said = json.dumps(row)
    for word in ("relay.send", "0.0001", "relay.status", "reading one's own deliveries", "relay.deliver", "0.0005"):
        assert word in said
