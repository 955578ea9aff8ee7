"""Webhooks of an integration as vendors see them: verified, stored once, and handled by a job, whatever dies meanwhile."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import io
import json
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from kaixu.store.embedded import EmbeddedPostgres
from kaixu.store.pool import open_pool
from tests.support.money import customer, virtual_key
from tests.support.process import Process
from tests.support.size import size
from tests.vendors.stage import database, gateway

from .test_crashes import kill_postgres, own_postgres

__all__ = ["own_postgres"]

PLUGIN = """
import asyncio, hashlib, hmac, json
import msgspec
from kaixu.plugin import (
    BadSignature, Free, Integration, NotConfigured, Operation, Options, Webhook, WebhookEvent, hookimpl,
)

class HookOptions(Options):
    secret: str | None = None

class Note(msgspec.Struct):
    id: str
    type: str = "paid"

class Fed(msgspec.Struct):
    new: bool

def verify(body, headers, options, now):
    if options.secret is None:
        raise NotConfigured("no secret is set")
    right = hmac.new(options.secret.encode(), body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(headers.get("x-signature") or "", right):
        raise BadSignature("the signature is wrong")
    event = json.loads(body)
    return WebhookEvent(event["id"], event["type"], event.get("object"), now)

async def handle(call):
    event = call.body.event
    assert call.customer_id is None and json.loads(call.body.body)["id"] == event.id
    if event.type == "odd" and call.attempt < 3:
        raise RuntimeError("not yet")
    async with call.db() as db:
        alone = await db.fetchval("select pg_try_advisory_xact_lock(hashtext($1))", event.object or event.id)
        await asyncio.sleep(0.003)
        await db.execute("insert into handled (event, object, alone) values ($1, $2, $3) on conflict do nothing",
                         event.id, event.object, alone)

async def fail(call):
    async with call.db() as db:
        if not await db.fetchval("select count(*) from handled where event = 'mended'"):
            raise RuntimeError("always")
        await db.execute("insert into handled (event) values ($1)", call.body.event.id)

async def feed(call):
    async with call.db() as db:
        event = WebhookEvent(call.body.id, call.body.type, "fed")
        return Fed(await db.receive("events", event, json.dumps({"id": call.body.id}).encode()))

@hookimpl
def register_integrations(register):
    register(Integration(
        "shop", [Operation("shop.feed", feed, Note, Free("a test"))], options=HookOptions, schema="tables",
        webhooks=[
            Webhook("events", verify, handle, types=("paid", "odd"), aliases=("shop-webhook", "stripe-webhook")),
            Webhook("failing", verify, fail, attempts=1),
        ],
    ))
    register(Integration("bare", [], options=HookOptions, webhooks=[Webhook("events", verify, handle)]))
"""
TABLES = "create table handled (event text primary key, object text, alone boolean);"
CONFIG = """
gateway: {jobs: {workers: 4, lease_s: 1.5}}
integrations:
  shop: {plugin: ./shop, secret: the shop's secret}
  bare: {plugin: ./shop}
"""
SECRET = b"the shop's secret"


def written(folder: Path) -> None:
    (folder / "shop" / "tables").mkdir(parents=True, exist_ok=True)
    (folder / "shop" / "__init__.py").write_text(PLUGIN)
    (folder / "shop" / "tables" / "0001_handled.sql").write_text(TABLES)


class Vendor:
    """Sends signed events."""

    def __init__(self, http: aiohttp.ClientSession, url: str, pool: asyncpg.Pool) -> None:
        self.http = http
        self.url = url
        self.pool = pool

    async def send(
        self, event: object, path: str = "/v1/shop/webhooks/events", signature: str | None = None
    ) -> tuple[int, Any]:
        body = json.dumps(event).encode()
        right = hmac.new(SECRET, body, hashlib.sha256).hexdigest()
        headers = {"x-signature": right if signature is None else signature}
        async with self.http.post(self.url + path, data=io.BytesIO(body), headers=headers) as response:
            return response.status, await response.json()

    async def handled(self, event_id: str) -> None:
        async with asyncio.timeout(30):
            while not await self.pool.fetchval("select count(*) from kaixu_shop.handled where event = $1", event_id):
                await asyncio.sleep(0.05)


@pytest.fixture(scope="module")
def shared(server_dsn: str, pristine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    home = tmp_path_factory.mktemp("shop")
    written(home)
    with database(server_dsn, pristine) as dsn, gateway(home, dsn, CONFIG) as process:
        yield process


@pytest.fixture
async def vendor(shared: Process, http: aiohttp.ClientSession) -> AsyncIterator[Vendor]:
    pool = await open_pool(shared.environment["DATABASE_URL"])
    yield Vendor(http, shared.url, pool)
    await pool.close()


async def test_an_event_is_stored_once_sealed_and_handled_by_a_job(vendor: Vendor) -> None:
    event = {"id": "e1", "type": "paid", "object": "o1", "card": "a secret of the buyer"}
    replies = await asyncio.gather(*(vendor.send(event) for _ in range(5)))
    assert [status for status, _ in replies] == [200] * 5
    assert sorted(reply["stored"] for _, reply in replies) == [False] * 4 + [True]
    await vendor.handled("e1")
    rows = await vendor.pool.fetch(
        "select * from kaixu.job where kind = 'shop.webhooks.events' and serial = 'webhook:o1'"
    )
    assert len(rows) == 1
    assert b"secret of the buyer" not in rows[0]["payload"]
    assert (rows[0]["customer_id"], rows[0]["key_id"]) == (None, None)


async def test_events_of_other_types_are_accepted_and_forgotten(vendor: Vendor) -> None:
    assert await vendor.send({"id": "e2", "type": "opened"}) == (200, {"received": True, "stored": False})
    assert not await vendor.pool.fetchval("select count(*) from kaixu.webhook_event where event_id = 'e2'")


async def test_a_handler_that_fails_is_tried_again(vendor: Vendor) -> None:
    await vendor.send({"id": "e3", "type": "odd"})
    async with asyncio.timeout(30):
        while await vendor.pool.fetchval("select count(*) from kaixu_shop.handled where event = 'e3'") == 0:
            await vendor.pool.execute("update kaixu.job set run_after = now() where status = 'queued'")
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("path", ["/api/shop-webhook", "/.netlify/functions/shop-webhook", "/api/stripe-webhook"])
async def test_aliases_lead_to_the_webhook(vendor: Vendor, path: str) -> None:
    assert (await vendor.send({"id": path, "type": "paid"}, path))[1] == {"received": True, "stored": True}
    await vendor.handled(path)


@pytest.mark.parametrize(
    ("path", "signature", "event", "refused"),
    [
        ("/v1/shop/webhooks/events", "wrong", {"id": "e4", "type": "paid"}, (400, "BAD_SIGNATURE")),
        ("/v1/shop/webhooks/events", "", {"id": "e4", "type": "paid"}, (400, "BAD_SIGNATURE")),
        ("/v1/shop/webhooks/events", None, {"type": "paid"}, (400, "BAD_SIGNATURE")),
        ("/v1/shop/webhooks/events", None, {"id": "", "type": "paid"}, (400, "BAD_SIGNATURE")),
        ("/v1/shop/webhooks/events", None, {"id": "x\u0000", "type": "paid"}, (400, "BAD_SIGNATURE")),
        ("/v1/shop/webhooks/events", None, [], (400, "BAD_SIGNATURE")),
        ("/v1/shop/webhooks/events", None, "x" * 1_100_000, (413, "TOO_LARGE")),
        ("/v1/shop/webhooks/nothing", None, {"id": "e4", "type": "paid"}, (404, "NOT_FOUND")),
        ("/v1/bare/webhooks/events", None, {"id": "e4", "type": "paid"}, (501, "NOT_CONFIGURED")),
    ],
)
async def test_what_is_not_an_event_of_the_vendor_is_refused(
    vendor: Vendor, path: str, signature: str | None, event: object, refused: tuple[int, str]
) -> None:
    status, reply = await vendor.send(event, path, signature)
    assert (status, reply["code"]) == refused
    assert not await vendor.pool.fetchval("select count(*) from kaixu.webhook_event where event_id in ('e4', '')")


async def test_what_got_lost_is_fed_in_once(vendor: Vendor) -> None:
    _, key = await virtual_key(vendor.pool, await customer(vendor.pool))

    async def feed(event_id: str, kind: str = "paid") -> bool:
        headers = {"authorization": f"Bearer {key}"}
        body = {"id": event_id, "type": kind}
        async with vendor.http.post(f"{vendor.url}/v1/shop/feed", json=body, headers=headers) as response:
            assert response.status == 200, await response.text()
            return bool((await response.json())["new"])

    await vendor.send({"id": "arrived", "type": "paid"})
    assert [await feed(one) for one in ("arrived", "lost", "lost")] == [False, True, False]
    assert not await feed("unlisted", "opened")
    await vendor.handled("lost")
    assert (await vendor.send({"id": "lost", "type": "paid"}))[1]["stored"] is False
    job = await vendor.pool.fetchrow(
        "select j.customer_id, j.serial from kaixu.job j join kaixu.webhook_event e on e.job_id = j.id"
        " where e.event_id = 'lost'"
    )
    assert tuple(job or ()) == (None, "webhook:fed")


async def test_operators_list_show_and_retry_events(vendor: Vendor, shared: Process) -> None:
    await vendor.send({"id": "broken", "type": "paid"}, "/v1/shop/webhooks/failing")
    async with asyncio.timeout(30):
        while True:
            listed = await shared.command("webhooks", "list", "--integration", "shop", "--status", "failed", "--json")
            if rows := json.loads(listed.stdout):
                break
    assert [(row["event"], row["webhook"], row["type"], row["error"]) for row in rows] == [
        ("broken", "failing", "paid", "INTEGRATION_FAILED")
    ]
    shown = json.loads((await shared.command("webhooks", "show", "shop", "broken", "--json")).stdout)
    assert (json.loads(shown["body"])["id"], shown["status"], shown["attempts"]) == ("broken", "failed", 1)
    await vendor.pool.execute("insert into kaixu_shop.handled (event) values ('mended')")
    assert (await shared.command("webhooks", "retry", "shop", "broken")).returncode == 0
    await vendor.handled("broken")
    async with asyncio.timeout(30):
        while (await shared.command("webhooks", "retry", "shop", "broken")).returncode == 0:
            pass  # it succeeds shortly after what its handler has written is there
    assert (await shared.command("webhooks", "show", "shop", "nothing")).returncode == 1
    plugins = json.loads((await shared.command("plugins", "--json")).stdout)
    offers = {offer["name"]: offer["kind"] for plugin in plugins for offer in plugin["offers"]}
    assert (offers["shop.webhooks.events"], offers["shop.feed"]) == ("webhook", "operation")
    assert await vendor.pool.fetchval("select count(*) from kaixu.audit_event where action = 'WEBHOOK_RETRY'") >= 1


async def test_while_the_database_is_away_the_vendor_is_asked_to_send_again(
    own_postgres: tuple[EmbeddedPostgres, str], tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    embedded, dsn = own_postgres
    written(tmp_path / "gateway")
    process = Process(tmp_path / "gateway", dsn, CONFIG)
    await process.start()
    pool = await open_pool(dsn)
    try:
        sender, event = Vendor(http, process.url, pool), {"id": "e5", "type": "paid"}
        kill_postgres(embedded)
        status, reply = await sender.send(event)
        assert (status, reply["code"]) == (503, "DATABASE_AWAY")
        await asyncio.to_thread(embedded.revive)
        await pool.expire_connections()
        async with asyncio.timeout(30):
            while (await sender.send(event))[0] != 200:
                await asyncio.sleep(0.1)
        await sender.handled("e5")
    finally:
        await process.stop()
        pool.terminate()


async def test_whatever_dies_each_event_is_handled_once_and_one_at_a_time_for_its_object(
    tmp_path: Path, dsn: str, http: aiohttp.ClientSession, pool: asyncpg.Pool
) -> None:
    """Seeded: deliveries, duplicated and reordered, sixteen at a time, while the gateway is killed twice."""
    choice = random.Random(20_261_129)
    written(tmp_path / "gateway")
    process = Process(tmp_path / "gateway", dsn, CONFIG.replace("workers: 4", "workers: 8"))
    await process.start()
    sender = Vendor(http, process.url, pool)
    count, objects = size(120, 1000), size(12, 100)
    events = [{"id": f"e{at}", "type": "paid", "object": f"o{at % objects}"} for at in range(count)]
    deliveries = [*events, *choice.sample(events, count // 3)]
    choice.shuffle(deliveries)
    kills = {len(deliveries) // 3, 2 * len(deliveries) // 3}
    places = asyncio.Semaphore(16)

    async def deliver(event: dict[str, str]) -> None:
        async with places, asyncio.timeout(120):
            while True:  # a vendor sends again what was not accepted
                try:
                    if (await sender.send(event))[0] == 200:
                        return
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.05)

    sending = []
    for at, event in enumerate(deliveries):
        if at in kills:
            await asyncio.sleep(0.1)
            process.kill()
            await process.start()
        sending.append(asyncio.ensure_future(deliver(event)))
    await asyncio.gather(*sending)
    async with asyncio.timeout(120):
        while await pool.fetchval("select count(*) from kaixu.job where completed_at is null"):
            await asyncio.sleep(0.1)
    jobs = await pool.fetch("select status, count(*) as count from kaixu.job group by 1")
    assert {row["status"]: row["count"] for row in jobs} == {"succeeded": count}
    assert await pool.fetchval("select count(*) from kaixu.webhook_event") == count
    handled = await pool.fetch("select event, alone from kaixu_shop.handled")
    assert {row["event"] for row in handled} == {event["id"] for event in events}
    assert all(row["alone"] for row in handled)
    assert await process.stop() == 0
