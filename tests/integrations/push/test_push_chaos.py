"""Pushes while gateways, workers, Postgres and Netlify die at every step: each ends once, each is billed once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg

from kaixu.store.embedded import EmbeddedPostgres
from kaixu.store.pool import open_pool
from tests.e2e.test_crashes import kill_postgres, own_postgres
from tests.support.money import assert_books_balance
from tests.support.process import Process
from tests.support.size import size

from .stand_in import OPERATOR, Fault, Netlify, later
from .station import CONFIG, Said, Station

__all__ = ["own_postgres"]

SEED = 20_261_130
PUSHES = size(8, 200)
KILLS = size(4, 100)
AT_ONCE = 8

#: Pushes whose client has given up end soon, and so do parts that nobody completes.
PATIENCE_S = size(15, 60)
MORE = f"push_hours: {(PATIENCE_S + 5) / 3600}\n    retention_hours: {PATIENCE_S / 1800}"


async def test_every_push_ends_once_and_is_billed_once_whatever_dies(
    own_postgres: tuple[EmbeddedPostgres, str], tmp_path: Path
) -> None:
    embedded, dsn = own_postgres
    choice = random.Random(SEED)
    netlify = await Netlify(is_checked=False).start()
    netlify.chance = lambda what: fault_of(choice)
    config = CONFIG.format(url=netlify.url, token=OPERATOR, more=MORE).replace(
        "stall_s: 5", "stall_s: 5, reservation_s: 3"
    )
    gateways = [Process(tmp_path / name, dsn, config, ADMIN_PASSWORD_HEADER="true") for name in ("one", "two")]
    (tmp_path / "blobs").mkdir()
    for gateway in gateways:
        (gateway.home / "blobs").symlink_to(tmp_path / "blobs")  # both have the same store
        await gateway.start()
    pool = await open_pool(dsn)
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as http:
            stations = [await opened(http, gateway, netlify) for gateway in gateways]
            work = asyncio.Queue[int]()
            for number in range(PUSHES):
                work.put_nowait(number)
            dying = asyncio.ensure_future(chaos(choice, embedded, gateways, pool, work))
            await asyncio.gather(*(customer(work, stations, random.Random(SEED + at)) for at in range(AT_ONCE)))
            await dying
            netlify.chance = lambda what: None
            await until_ended(pool)
        await assert_each_ended_and_was_billed_once(pool, netlify)
    finally:
        for gateway in gateways:
            await gateway.stop()
        pool.terminate()
        await netlify.stop()


#: What has not ended. The core removes files that a call has left behind itself, some minutes later.
UNENDED = """
    select (select count(*) from kaixu_push.push where ended_at is null) as pushes,
           (select count(*) from kaixu.job where completed_at is null and kind <> 'push.expire') as jobs,
           (select count(*) from kaixu.reservation) as calls,
           (select count(*) from kaixu.blob where integration = 'push' and name is not null) as parts
"""


async def until_ended(pool: asyncpg.Pool) -> None:
    """Return when nothing goes on any more."""
    ends_at = asyncio.get_running_loop().time() + 180
    while any((left := dict(await pool.fetchrow(UNENDED) or {})).values()):
        assert asyncio.get_running_loop().time() < ends_at, left
        await asyncio.sleep(0.3)


def fault_of(choice: random.Random) -> Fault | None:
    """One request in eight fails somehow."""
    kinds = [
        Fault(503), Fault(429, headers=later()), Fault(), Fault(when="after"), Fault(when="body"), Fault(500),
    ]  # fmt: skip
    return choice.choice(kinds) if choice.random() < 0.12 else None


async def opened(http: aiohttp.ClientSession, gateway: Process, netlify: Netlify) -> Station:
    """A customer, however often it takes."""
    station = Station(http, gateway, netlify)
    station.customer_id, station.key = await station.customer(station.email)
    netlify.site(station.site, station.token)
    while (await station.call("POST", "netlify-token", {"token": station.token})).status != 200:
        await asyncio.sleep(0.1)
    body = {"projectId": "blog", "netlifySiteId": station.site}
    while (await station.call("POST", "push-projects", body)).status != 200:
        await asyncio.sleep(0.1)
    return station


async def chaos(
    choice: random.Random,
    embedded: EmbeddedPostgres,
    gateways: list[Process],
    pool: asyncpg.Pool,
    work: asyncio.Queue[int],
) -> None:
    """Kill a gateway with its workers, or Postgres, at moments that a seed has chosen; while there is work."""
    for kill in range(KILLS):
        await asyncio.sleep(choice.uniform(0.3, 1.2))
        if work.empty():
            return
        if kill % 6 == 3:
            kill_postgres(embedded)
            await asyncio.sleep(choice.uniform(0.1, 0.5))
            await asyncio.to_thread(embedded.revive)
            await pool.expire_connections()
            continue
        victim = gateways[choice.randrange(2)]
        victim.kill()
        await asyncio.sleep(choice.uniform(0, 0.5))
        await victim.start()


async def customer(work: asyncio.Queue[int], stations: list[Station], choice: random.Random) -> None:
    """Push after push: each with a small file and one in parts; every step is sent again until it succeeds."""
    while not work.empty():
        number = work.get_nowait()
        station = stations[number % 2]
        small, large = b"small %d" % number, b"large %d " % number * 2000
        files = {"/index.html": small, "/large.bin": large}
        try:
            async with asyncio.timeout(PATIENCE_S):
                push_id = (await until_done(partial(station.init, files)))["pushId"]
                await until_done(partial(station.upload, push_id, "/index.html", small))
                for part in choice.sample(range(3), 3):
                    await until_done(partial(station.chunk, push_id, "/large.bin", large, part, 3))
                await until_done(partial(station.assemble, push_id, "/large.bin", large, 3))
                if choice.random() < 0.5:
                    await until_done(partial(station.call, "POST", "push-complete", {"pushId": push_id}))
        except TimeoutError:
            continue  # this client gives up; the gateway must not


async def until_done(step: Callable[[], Awaitable[Said]]) -> dict[str, Any]:
    """What a step answers at last."""
    while True:
        try:
            said: Said = await step()
        except (aiohttp.ClientError, TimeoutError, OSError):
            await asyncio.sleep(0.3)
            continue
        if said.status in (200, 202):
            body: dict[str, Any] = said.json
            return body
        await asyncio.sleep(0.3)


async def assert_each_ended_and_was_billed_once(pool: asyncpg.Pool, netlify: Netlify) -> None:
    """What the gateway says of each push is what Netlify says, and so is the bill."""
    pushes = {row["push_id"]: row for row in await pool.fetch("select * from kaixu_push.push")}
    assert len(pushes) >= PUSHES
    charged = {
        (row["charge"], row["key"]): row
        for row in await pool.fetch("select * from kaixu.keyed_charge where state = 'charged' and not is_monthly")
    }
    live = {one.title.rpartition("(")[2].rstrip(")") for one in netlify.deploys.values() if one.state == "ready"}
    assert live, "some are published"
    ready = {push_id for push_id, row in pushes.items() if row["state"] == "ready"}
    assert ready == live
    assert {key for charge, key in charged if charge == "deploy"} == live
    for push_id, row in pushes.items():
        assert row["state"] == "ready" or row["error"], "what has failed says why"
        sent = await pool.fetchval(
            "select coalesce(sum(bytes), 0)::bigint from kaixu_push.push_file where push = $1 and status = 'done'",
            row["id"],
        )
        billed = charged.get(("gib", push_id))
        assert (0 if billed is None else billed["units"]) == sent
    assert not await pool.fetchval("select count(*) from kaixu.keyed_charge where state = 'held'")
    assert not await pool.fetchval("select count(*) from kaixu.blob where integration = 'push' and name is not null")
    await assert_books_balance(pool)
