"""Pushes while everything dies: each ends once, each commit is on its branch once, each is billed once."""

from __future__ import annotations

import asyncio
import random
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
from tests.support.worker import Worker

from .conftest import config_of
from .pusher import Pusher, new_pusher, zipped
from .stand_in import GitHubServer

__all__ = ["own_postgres"]

SEED = 20_261_130
CUSTOMERS = 4
LATER = (500, 502, 503, 504, 429)


async def test_each_push_lands_once_and_is_billed_once_whatever_dies(
    own_postgres: tuple[EmbeddedPostgres, str], tmp_path: Path, http: aiohttp.ClientSession, server: GitHubServer
) -> None:
    """Seeded: pushes of four customers; workers, the gateway and Postgres are killed, and others move the branches."""
    embedded, dsn = own_postgres
    choice = random.Random(SEED)
    count, kills = size(24, 200), size(5, 40)
    gateway = Process(tmp_path / "gateway", dsn, config_of(server))
    workers = [Worker(sharing(gateway, tmp_path / f"worker{at}"), dsn, config_of(server)) for at in range(2)]
    await gateway.start()
    for worker in workers:
        worker.start()
    pool = await open_pool(dsn)
    try:
        people = [await new_pusher(server, gateway, pool, http) for _ in range(CUSTOMERS)]
        for one in people:
            server.commit(one.repo, {"first.txt": b"first"}, message="first")
        places = asyncio.Semaphore(8)
        told: dict[str, str] = {}
        moved: dict[str, int] = {one.repo: 0 for one in people}

        async def push(at: int) -> None:
            one = people[at % CUSTOMERS]
            async with places, asyncio.timeout(240):
                job = await begun(one, at)
                told[job] = f"push {at}"

        is_over = asyncio.Event()

        async def move() -> None:
            while not is_over.is_set():
                await asyncio.sleep(choice.uniform(0.2, 0.8))
                one = choice.choice(people)
                number = moved[one.repo] + 1
                files: dict[str, bytes | None] = {f"theirs{number}.txt": b"t"}
                try:
                    await asyncio.to_thread(server.commit, one.repo, files, message=f"theirs {number}")
                except AssertionError:  # a push was faster, so git has not moved the branch
                    continue
                moved[one.repo] = number

        moving = asyncio.ensure_future(move())
        pushing = [asyncio.ensure_future(push(at)) for at in range(count)]
        for turn in range(kills):
            await asyncio.sleep(choice.uniform(0.3, 1.2))
            await one_death(choice, turn, embedded, gateway, workers, pool)
        await asyncio.gather(*pushing)
        for worker in workers:
            if not worker.alive:
                worker.start()
        await all_ended(pool)
        is_over.set()
        await moving
        await check(pool, people, told, moved)
    finally:
        for worker in workers:
            worker.kill()
        gateway.kill()
        pool.terminate()


def sharing(gateway: Process, home: Path) -> Path:
    """A worker's folder whose files of customers are the gateway's, as with an object store."""
    home.mkdir()
    (gateway.home / "blobs").mkdir(exist_ok=True)
    (home / "blobs").symlink_to(gateway.home / "blobs")
    return home


async def begun(one: Pusher, at: int) -> str:
    """A push that is handed in; a client sends again what was not answered. A lost answer of `init` begins another."""

    async def call(method: str, path: str, body: Any, **query: Any) -> dict[str, str]:
        while True:
            try:
                answer = await one.call(method, path, body, **query)
                if answer.status not in LATER:
                    assert answer.status in (200, 202), answer
                    found: dict[str, str] = answer.body
                    return found
            except (aiohttp.ClientError, ConnectionError):
                pass
            await asyncio.sleep(0.1)

    fields = {"owner": one.login, "repo": "site", "message": f"push {at}", "author": {"name": "A", "email": "a@b.c"}}
    job = (await call("POST", "gh-push-init", fields))["jobId"]
    data = zipped({f"ours{at}.txt": f"content {at}"})
    half = len(data) // 2
    for part, piece in enumerate((data[:half], data[half:])):
        await call("PUT", "gh-push-upload-chunk", piece, jobId=job, part=part, parts=2)
    await call("POST", "gh-push-upload-complete", {"jobId": job})
    return job


async def one_death(
    choice: random.Random,
    turn: int,
    embedded: EmbeddedPostgres,
    gateway: Process,
    workers: list[Worker],
    pool: asyncpg.Pool,
) -> None:
    """Kill Postgres each fifth time, the gateway each fifth, else a worker; and start it again."""
    match turn % 5:
        case 2:
            kill_postgres(embedded)
            await asyncio.sleep(choice.uniform(0.1, 0.4))
            await asyncio.to_thread(embedded.revive)
            await pool.expire_connections()
        case 4:
            gateway.kill()
            await gateway.start()
        case _:
            victim = choice.choice(workers)
            victim.kill()
            await asyncio.sleep(choice.uniform(0.0, 0.3))
            for worker in workers:
                if not worker.alive:
                    worker.start()


async def all_ended(pool: asyncpg.Pool) -> None:
    """Wait until no push waits or runs any more, and every failure was handled."""
    async with asyncio.timeout(240):
        while True:
            try:
                if not await pool.fetchval(
                    "select (select count(*) from kaixu_github.push where status = 'queued')"
                    " + (select count(*) from kaixu.job where completed_at is null and kind = 'github.push')"
                    " + (select count(*) from kaixu.reservation)"
                ):
                    return
            except (OSError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError, asyncpg.InterfaceError):
                pass
            await asyncio.sleep(0.1)


async def check(pool: asyncpg.Pool, people: list[Pusher], told: dict[str, str], moved: dict[str, int]) -> None:
    """What must be true at the end."""
    rows = {row["job_id"]: row for row in await pool.fetch('select *, "commit" as sha from kaixu_github.push')}
    assert {job: rows[job]["status"] for job in told} == dict.fromkeys(told, "done"), [
        (rows[job]["error"], rows[job]["error_code"]) for job in told if rows[job]["status"] != "done"
    ]
    for one in people:
        server, repo = one.server, one.repo
        server.check(repo)
        log = server.log(repo)
        ours = sorted(row["message"] for job, row in rows.items() if job in told and row["customer_id"] == one.id)
        theirs = [f"theirs {number}" for number in range(1, moved[repo] + 1)]
        assert sorted(log) == sorted([*ours, *theirs, "first"]), "each commit is there once, and nobody's is lost"
        assert server.git(repo, "for-each-ref", "--format=%(refname)") == "refs/heads/main"
        assert len(server.git(repo, "rev-list", "--max-parents=0", "--all").splitlines()) == 1, "no orphan"
        on_branch = set(server.git(repo, "rev-list", "main").splitlines())
        assert {rows[job]["sha"] for job in told if rows[job]["customer_id"] == one.id} <= on_branch
    billed = await pool.fetch(
        "select customer_id, count(*) as count from kaixu.usage_event where model = 'push' and cost_nusd > 0 group by 1"
    )
    assert {row["customer_id"]: row["count"] for row in billed} == {
        one.id: sum(rows[job]["customer_id"] == one.id for job in told) for one in people
    }
    assert await pool.fetchval("select count(*) from kaixu.keyed_charge where state = 'held'") == 2 * sum(
        row["status"] == "uploading" and row["bytes_staged"] > 0 for row in rows.values()
    ) + sum(row["status"] == "uploading" and row["bytes_staged"] == 0 for row in rows.values())
    await assert_books_balance(pool)
