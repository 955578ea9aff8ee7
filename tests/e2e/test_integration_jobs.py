"""Jobs of integrations as their customers see them: status, result and cancel over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from tests.support.money import assert_books_balance, customer, spent_and_held, virtual_key
from tests.support.process import Client, Process

from .test_jobs import Jobs

PLUGIN = """
import asyncio
import msgspec
from kaixu.plugin import Free, Integration, Job, NotFound, Operation, PerCall, Retry, Schedule, hookimpl

class Order(msgspec.Struct):
    what: str = "pages"

class Accepted(msgspec.Struct):
    job_id: str

class Report(msgspec.Struct):
    pages: list[str]
    note: str | None = None

async def submit(call):
    return Accepted(str(await call.enqueue("print.work", call.body)))

async def work(call):
    if call.body.what == "nothing":
        raise NotFound("there is nothing to print")
    if call.body.what == "unstorable":
        raise NotFound("odd \\x00 \\ud800 text")
    if call.body.what == "unstorable result":
        return Report(["\\x00"], "\\ud800")
    if call.body.what == "everything":
        raise ValueError("the plugin's secret")
    if call.body.what == "forever":
        await asyncio.sleep(3600)
    await call.progress(1, 2)
    return Report(["first", "\\u00fc"])

async def sweep(call):
    return Report([])

async def tick(call):
    async with call.db() as db:
        await db.enqueue("print.sweep", Order())

@hookimpl
def register_integrations(register):
    register(Integration(
        "print",
        [
            Operation("print.submit", submit, Order, Free("a test")),
            Operation("print.submit.admin", submit, Order, Free("a test"), role="admin"),
        ],
        jobs=[
            Job("print.work", work, Order, PerCall("work"), retry=Retry(attempts=1)),
            Job("print.sweep", sweep, Order, Free("a test")),
        ],
        schedules=[Schedule("print.tick", tick, every_s=1, why_free="a test")],
    ))
"""
CONFIG = """
gateway: {jobs: {workers: 4, lease_s: 2}}
integrations:
  print: {plugin: ./print.py, price: {work: 0.002}}
"""
WORK = 2_000_000


class PrintJobs(Jobs):
    """A client that submits jobs of the integration."""

    async def print(self, what: str = "pages", *, operation: str = "submit") -> str:
        url = f"{self.url}/v1/print/{operation}"
        async with self.http.post(url, json={"what": what}, headers=self.headers) as response:
            assert response.status == 200
            return str((await response.json())["job_id"])


@pytest.fixture
async def gateway(tmp_path: Path, dsn: str) -> AsyncIterator[Process]:
    home = tmp_path / "gateway"
    home.mkdir()
    (home / "print.py").write_text(PLUGIN)
    process = Process(home, dsn, CONFIG)
    await process.start()
    yield process
    assert await process.stop() == 0


@pytest.fixture
async def customer_id(pool: asyncpg.Pool) -> int:
    return await customer(pool)


@pytest.fixture
async def jobs(gateway: Process, http: aiohttp.ClientSession, pool: asyncpg.Pool, customer_id: int) -> PrintJobs:
    return PrintJobs(Client(http, gateway.url, (await virtual_key(pool, customer_id))[1]))


async def test_a_customer_gets_the_result_that_the_handler_returned(
    jobs: PrintJobs, http: aiohttp.ClientSession, pool: asyncpg.Pool, customer_id: int
) -> None:
    job_id = await jobs.print()
    ended = await jobs.ended(job_id)
    assert (ended["status"], ended["job"]["kind"], ended["job"]["provider"]) == ("succeeded", "print.work", "print")
    assert (ended["job"]["progress"], ended["job"]["error"]) == ({"done": 1, "of": 2}, None)
    status, reply = await jobs.get("result", job_id)
    assert status == 200
    assert reply["result"] == {"pages": ["first", "ü"], "note": None}
    assert (reply["status"], reply["job"]["id"], reply["provider"], reply["model"]) == (
        "succeeded",
        job_id,
        "print",
        "print.work",
    )
    assert reply["usage"]["cost_usd"] == "0.002"
    assert "output_text" not in reply
    second = PrintJobs(Client(http, jobs.url, (await virtual_key(pool, customer_id))[1]))
    assert (await second.get("result", job_id))[1]["result"] == reply["result"]
    assert (await jobs.cancel(job_id))[1]["code"] == "JOB_ENDED"
    assert await spent_and_held(pool, customer_id) == (WORK, 0)
    await assert_books_balance(pool)


async def test_a_key_with_a_lower_role_than_the_submission_needs_reads_no_result_and_cancels_nothing(
    jobs: PrintJobs, gateway: Process, http: aiohttp.ClientSession, pool: asyncpg.Pool, customer_id: int
) -> None:
    def client(key: str) -> PrintJobs:
        return PrintJobs(Client(http, gateway.url, key))

    admin, owner = [client((await virtual_key(pool, customer_id, role=role))[1]) for role in ("admin", "owner")]
    job_id = await admin.print(operation="submit/admin")
    await admin.ended(job_id)
    for status, reply in (await jobs.get("result", job_id), await jobs.cancel(job_id)):
        assert (status, reply["code"]) == (403, "ROLE_TOO_LOW")
        assert "first" not in str(reply)
    for reader in (admin, owner):
        assert (await reader.get("result", job_id))[1]["result"]["pages"] == ["first", "ü"]
    running = await owner.print("forever", operation="submit/admin")
    assert (await jobs.get("result", running))[0] == 403
    assert (await jobs.cancel(running))[0] == 403
    assert (await jobs.get("status", running))[1]["job"]["cancelling"] is False
    assert (await admin.cancel(running))[0] == 200  # what the operation needs is enough
    # What a key has submitted itself it can read, whatever the integration's other operations need.
    own = await jobs.print()
    await jobs.ended(own)
    assert (await jobs.get("result", own))[0] == 200


async def test_another_customer_and_a_schedule_s_job_look_like_an_unknown_job(
    jobs: PrintJobs, http: aiohttp.ClientSession, pool: asyncpg.Pool
) -> None:
    job_id = await jobs.print()
    await jobs.ended(job_id)
    async with asyncio.timeout(20):
        while (swept := await pool.fetchval("select id from kaixu.job where kind = 'print.sweep' limit 1")) is None:
            await asyncio.sleep(0.05)
    stranger = PrintJobs(Client(http, jobs.url, (await virtual_key(pool, await customer(pool)))[1]))
    unknown = "e9efb73e-9d45-413f-b221-38a195371c92"
    for client, id in ((stranger, job_id), (stranger, str(swept)), (jobs, str(swept)), (jobs, unknown)):
        for status, reply in (
            await client.get("status", id),
            await client.get("result", id),
            await client.cancel(id),
        ):
            assert (status, reply["code"]) == (404, "NOT_FOUND")
            assert reply["error"] == f"there is no job `{id}`"


async def test_a_failed_job_tells_its_error_and_nothing_of_the_plugin(
    jobs: PrintJobs, pool: asyncpg.Pool, customer_id: int
) -> None:
    for what, code in (("nothing", "NOT_FOUND"), ("everything", "INTEGRATION_FAILED")):
        job_id = await jobs.print(what)
        assert (await jobs.ended(job_id))["job"]["code"] == code
        status, reply = await jobs.get("result", job_id)
        assert (status, reply["code"], reply["status"], reply["job"]["id"]) == (500, code, "failed", job_id)
        assert "result" not in reply
        assert "secret" not in str(reply)
    assert await spent_and_held(pool, customer_id) == (0, 0)


async def test_texts_that_no_database_takes_end_a_job_all_the_same(
    jobs: PrintJobs, pool: asyncpg.Pool, customer_id: int
) -> None:
    for what, code in (("unstorable", "NOT_FOUND"), ("unstorable result", "INTEGRATION_FAILED")):
        job_id = await jobs.print(what)
        ended = await jobs.ended(job_id)
        assert (ended["status"], ended["job"]["code"], ended["job"]["attempts"]) == ("failed", code, 1)
    assert await spent_and_held(pool, customer_id) == (0, 0)


async def test_a_running_job_has_no_result_yet_and_can_be_cancelled(
    jobs: PrintJobs, pool: asyncpg.Pool, customer_id: int
) -> None:
    job_id = await jobs.print("forever")
    async with asyncio.timeout(20):
        while (await jobs.get("status", job_id))[1]["status"] != "running":
            await asyncio.sleep(0.05)
    assert (await jobs.get("result", job_id))[0] == 202
    status, reply = await jobs.cancel(job_id)
    assert status == 200
    assert reply["job"]["cancelling"] or reply["status"] == "cancelled"  # the worker may be faster than the reply
    ended = await jobs.ended(job_id)
    assert (ended["status"], ended["job"]["code"]) == ("cancelled", "JOB_CANCELLED")
    status, reply = await jobs.get("result", job_id)
    assert (status, reply["code"]) == (409, "JOB_CANCELLED")
    assert await spent_and_held(pool, customer_id) == (0, 0)
    await assert_books_balance(pool)


async def test_a_job_has_the_tags_of_the_request_that_submitted_it(jobs: PrintJobs, pool: asyncpg.Pool) -> None:
    jobs.headers |= {"x-kaixu-app": "shop", "x-kaixu-build": "7"}
    assert (await jobs.ended(await jobs.print()))["status"] == "succeeded"
    rows = await pool.fetch("select operation, app_id, build_id from kaixu.usage_event where cost_nusd > 0")
    assert [tuple(row) for row in rows] == [("job:print.work", "shop", "7")]
